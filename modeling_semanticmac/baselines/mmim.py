"""MMIM: bounds of mutual information between modalities, and between each and their fusion (Han et al. 2021)."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..task_specification import TaskSpecification
from .fusion import Fused, Fusion, Streams
from .fusion_layers import PackedLSTM
from .sign_memory import SignMemory, label_signs

RIDGE = 1e-4  # added to the diagonal of a covariance


@dataclass(frozen=True)
class MMIMOptions:
    """Options of [`MMIM`]; the defaults are the public settings, the same for all corpora.

    Args:
        lstm_width: width of a direction of the LSTMs over audio and vision.
        media_width: width of audio and vision after them.
        media_dropout: probability between the two.
        fusion_width: width of the fusion.
        fusion_dropout: probability before it.
        entropy_width: width of the projection in which entropies are measured.
        contrast_weight: alpha, weight of the contrast between the fusion and each modality.
        information_weight: beta, weight of likelihood and entropy.
        log_determinant: the whole Gaussian log-likelihood with a bounded variance; False: without its
            log-determinant and bound, as in public code.
        memory_batches: earlier batches over which entropies are measured too.
    """

    lstm_width: int = 16
    media_width: int = 16
    media_dropout: float = 0.1
    fusion_width: int = 128
    fusion_dropout: float = 0.1
    entropy_width: int = 4
    contrast_weight: float = 0.1
    information_weight: float = 0.1
    log_determinant: bool = True
    memory_batches: int = 1


def log_likelihood(
    values: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor, log_determinant: bool = True
) -> torch.Tensor:
    """Return the log-likelihood of each row under N(mean, exp(log_variance)) without its constant, (B, d) -> (B,):

        sum_d  -1/2 [log_variance + (y - mean)^2 / exp(log_variance)]

    Args:
        values, mean, log_variance: (B, d).
        log_determinant: False leaves out the first term of the bracket.
    """
    terms = (values - mean).square() / log_variance.exp()
    return -0.5 * (terms + log_variance if log_determinant else terms).sum(dim=1)


def covariance_log_determinant(vectors: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return  log det (covariance of the chosen rows + 1e-4 I), in float32; 0 where they are at most as many as the
    columns.

    Args:
        vectors: (n, d).
        chosen: bool (n,).
    """
    with torch.autocast(vectors.device.type, enabled=False):
        weight, rows = chosen.float(), vectors.float()
        count = weight.sum().clamp(min=1)
        centred = (rows - weight @ rows / count) * weight[:, None]
        covariance = centred.T @ centred / count  # (d, d)
        found = torch.logdet(covariance + RIDGE * torch.eye(len(covariance), device=covariance.device))
    return torch.where(chosen.sum() > vectors.shape[1], found, 0.0)


def contrast_losses(
    vectors: torch.Tensor, predicted: torch.Tensor, candidates: torch.Tensor, has: torch.Tensor
) -> torch.Tensor:
    """Return  logsumexp_j (x_i . p_j) - x_i . p_i  for each row, on vectors of length 1, (B, d) -> (B,).

    Args:
        vectors: x (B, d).
        predicted: p of the same clips (B, d).
        candidates: p of the clips of all processes (G, d).
        has: which candidates count (G,), bool.
    """
    vectors, predicted, candidates = (F.normalize(rows.float(), dim=1) for rows in (vectors, predicted, candidates))
    scores = vectors @ candidates.T  # (B, G)
    scores = scores.masked_fill(~has, torch.finfo(scores.dtype).min)
    return scores.logsumexp(dim=1) - (vectors * predicted).sum(dim=1)


class Likelihood(nn.Module):
    """q(y | x) = N(mean(x), exp(log_variance(x))): two networks Linear, ReLU, Linear.

    With `bounded` the log-variance passes through tanh; without, it can grow until the likelihood says nothing.
    """

    def __init__(self, width: int, output: int, bounded: bool):
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(width, output), nn.ReLU(), nn.Linear(output, output))
        self.log_variance = nn.Sequential(nn.Linear(width, output), nn.ReLU(), nn.Linear(output, output))
        self.bounded = bounded

    def forward(self, given: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return log q(y | x) of each row (B,): given x (B, D), values y (B, d)."""
        log_variance = self.log_variance(given)
        if self.bounded:
            log_variance = log_variance.tanh()
        return log_likelihood(values, self.mean(given), log_variance, log_determinant=self.bounded)


class MMIM(Fusion):
    """MMIM, "Improving Multimodal Fusion with Hierarchical Mutual Information Maximization for Multimodal Sentiment
    Analysis" (Han, Chen, Poria 2021, EMNLP).

        t = text vector;  a, v = Linear(last states of a biLSTM)
        z = tanh(Linear(tanh(Linear(dropout [t; a; v])))),  y = Linear z
        L = task + alpha sum_m NCE(m, z) - beta sum_{m = a, v} [log q(m | t) + H(m)]

        NCE(m, z) = -mean_i [m_i . p_i - logsumexp_j (m_i . p_j)],  p = Linear z, all of length 1
        H(m) = 1/4 [log det cov(e+) + log det cov(e-)],  e = tanh(Linear m) of clips above and below the middle

    The public code maximises log q with the weights of q alone in a pass over the data, then minimises L with all other
    weights in a second pass. Here both happen in one pass (our reading): L sees the weights of q as constants, and the
    term `estimator`, -log q with t, a and v as constants, trains them. Entropies are measured in a random projection,
    as in public code, where it never gets a gradient: one that maximised them would only saturate.

    Other differences from public code: a term of H with fewer clips than its covariance needs is 0 (there NaN or
    -inf); 1e-4 I is added to covariances; log q has its log-determinant (`log_determinant`); a clip that lacks a
    modality is not in the terms of that modality; the weights are not chosen on the test split. H needs two signs:
    scores, or two classes. Other tasks are refused.
    """

    Options = MMIMOptions
    language_model = "tuned"
    state = SignMemory

    def __init__(self, options: MMIMOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        if not (task.is_regression or task.is_binary):
            raise ValueError(
                f"MMIM needs scores or two classes; task {task.name!r} has {task.num_labels} classes. Use another "
                "system."
            )
        o, media = options, options.media_width
        self.recurrences = nn.ModuleDict(
            {name: PackedLSTM(widths[name], o.lstm_width, bidirectional=True) for name in MEDIA_MODALITIES}
        )
        self.reductions = nn.ModuleDict({name: nn.Linear(2 * o.lstm_width, media) for name in MEDIA_MODALITIES})
        self.media_dropout = nn.Dropout(o.media_dropout)
        self.fusion = nn.Sequential(
            nn.Dropout(o.fusion_dropout), nn.Linear(widths["text"] + 2 * media, o.fusion_width), nn.Tanh(),
            nn.Linear(o.fusion_width, o.fusion_width), nn.Tanh(),
        )  # fmt: skip
        self.output = nn.Linear(o.fusion_width, task.num_labels)
        self.likelihoods = nn.ModuleDict(
            {name: Likelihood(widths["text"], media, o.log_determinant) for name in MEDIA_MODALITIES}
        )
        self.entropy_projections = nn.ModuleDict({name: nn.Linear(media, o.entropy_width) for name in MEDIA_MODALITIES})
        self.entropy_projections.requires_grad_(False)
        sizes = {"text": widths["text"], "audio": media, "vision": media}
        self.predictions = nn.ModuleDict({name: nn.Linear(o.fusion_width, sizes[name]) for name in MODALITIES})

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C), the representations of the modalities, and in training the further losses."""
        vectors = {"text": streams.text_vector * streams.has("text")}
        for name in MEDIA_MODALITIES:
            states = self.recurrences[name](getattr(streams, name), getattr(streams, f"{name}_mask"))
            vectors[name] = self.reductions[name](self.media_dropout(states)) * streams.has(name)
        fused = self.fusion(torch.cat([vectors[name] for name in MODALITIES], dim=1))  # (B, d)
        losses = None
        if self.training and streams.labels is not None:
            losses = self._losses(streams, vectors, fused)
        return Fused(self.output(fused), embeds=vectors | {"multimodal": fused}, losses=losses)

    def _losses(self, streams: Streams, vectors: dict[str, torch.Tensor], fused: torch.Tensor) -> dict:
        """Return the terms of the loss beside the task, with their weights applied."""
        options, has = self.options, streams.modality_mask  # (B, 3)
        counted = has if streams.counts is None else has & streams.counts[:, None]
        everyone = streams.gather(counted.to(fused.dtype)) > 0  # (G, 3)
        likelihood = entropy = estimator = fused.new_zeros(())
        for position, name in enumerate(MEDIA_MODALITIES, start=1):
            both = has[:, 0] & has[:, position]
            module, given = self.likelihoods[name], (vectors["text"], vectors[name])
            constants = {key: value.detach() for key, value in module.named_parameters()}
            likelihood = likelihood + streams.mean(functional_call(module, constants, given), both)
            estimator = estimator - streams.mean(module(*(value.detach() for value in given)), both)
            entropy = entropy + self._entropy(streams, name, vectors[name], everyone[:, position])
        return {
            "contrast": options.contrast_weight * self._contrast(streams, vectors, fused, everyone),
            "likelihood": -options.information_weight * likelihood,
            "entropy": -options.information_weight * entropy,
            "estimator": estimator,
        }

    def _contrast(self, streams: Streams, vectors: dict, fused: torch.Tensor, everyone: torch.Tensor) -> torch.Tensor:
        """Return the sum of NCE over the modalities."""
        candidates, total = streams.gather(fused), fused.new_zeros(())  # (G, d)
        for position, name in enumerate(MODALITIES):
            predict = self.predictions[name]
            each = contrast_losses(vectors[name], predict(fused), predict(candidates), everyone[:, position])
            total = total + streams.mean(each, streams.modality_mask[:, position])
        return total

    def _entropy(self, streams: Streams, name: str, vectors: torch.Tensor, has: torch.Tensor) -> torch.Tensor:
        """Return H of a modality over the clips of all processes and the memory."""
        signs = streams.gather(label_signs(streams.labels, self.task).to(vectors.dtype))  # (G,)
        rows, signs = streams.gather(vectors), signs.masked_fill(~has, 0)
        memory = streams.targets or {}
        if f"{name}_memory" in memory:
            rows = torch.cat([rows, memory[f"{name}_memory"].to(rows.dtype)])
            signs = torch.cat([signs, memory[f"{name}_signs"].to(signs.dtype)])
        projected = torch.tanh(self.entropy_projections[name](rows))  # (n, entropy_width)
        return sum(covariance_log_determinant(projected, signs == sign) for sign in (1, -1)) / 4


__all__ = [
    "MMIM", "Likelihood", "MMIMOptions", "contrast_losses", "covariance_log_determinant", "log_likelihood",
]  # fmt: skip

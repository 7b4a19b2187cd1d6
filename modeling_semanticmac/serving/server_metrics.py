"""Counts and times of a server as Prometheus reads them."""

from collections import Counter
from collections.abc import Mapping

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds, upper bounds


class ServerMetrics:
    """Counts requests by path and status, and their seconds in buckets."""

    def __init__(self):
        self.requests: Counter = Counter()
        self.buckets: Counter = Counter()
        self.seconds = 0.0

    def add(self, path: str, status: int, seconds: float) -> None:
        """Count one request that took some seconds."""
        self.requests[path, status] += 1
        self.seconds += seconds
        self.buckets[next((bound for bound in BUCKETS if seconds <= bound), float("inf"))] += 1

    def text(self, waiting: int, batches: Mapping[int, int]) -> str:
        """Return the text format of Prometheus.

        Args:
            waiting: requests without a result.
            batches: number of batches by size.
        """
        lines = ["# TYPE semanticmac_requests_total counter"]
        for (path, status), count in sorted(self.requests.items()):
            lines.append(f'semanticmac_requests_total{{path="{path}",status="{status}"}} {count}')
        lines.append("# TYPE semanticmac_request_seconds histogram")
        total = 0
        for bound in (*BUCKETS, float("inf")):
            total += self.buckets[bound]
            name = "+Inf" if bound == float("inf") else f"{bound:g}"
            lines.append(f'semanticmac_request_seconds_bucket{{le="{name}"}} {total}')
        lines += [f"semanticmac_request_seconds_sum {self.seconds:.6f}", f"semanticmac_request_seconds_count {total}"]
        lines += ["# TYPE semanticmac_waiting gauge", f"semanticmac_waiting {waiting}"]
        lines.append("# TYPE semanticmac_batches_total counter")
        lines += [f'semanticmac_batches_total{{size="{size}"}} {count}' for size, count in sorted(batches.items())]
        return "\n".join(lines) + "\n"


__all__ = ["ServerMetrics"]

"""What is said wherever a model is offered to people: on its card, by the server, on the page, with a timeline."""

from ..configuration_semanticmac import AffectConfig

DOCUMENT = "docs/responsible_use.md"  # of the project
LAW = "https://eur-lex.europa.eu/eli/reg/2024/1689/oj"  # the AI Act, Regulation (EU) 2024/1689
NOTICE = (
    "A model's estimate, not a fact about a person: do not decide about people by it. Tell people who are recorded "
    "that a model rates them (EU AI Act, Article 50(3)); inferring emotions from faces or voices at work and in "
    f"education is prohibited (Article 5(1)(f)). More: {DOCUMENT}, {LAW}"
)


def stated_use(config: AffectConfig) -> str:
    """Return what the configuration says the model is for, as a sentence; empty where it says nothing."""
    if config.intended_use is None:
        return ""
    return f"Intended use, as its author states it: {config.intended_use}"


__all__ = ["DOCUMENT", "LAW", "NOTICE", "stated_use"]

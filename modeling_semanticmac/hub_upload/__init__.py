"""The former name of `modeling_semanticmac.hub.upload`."""

from ..hub.upload import push_run

__all__ = ["push_run"]

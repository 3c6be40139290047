"""Find what a definition names: a class or a function, as ``module:attribute``."""

from importlib import import_module
from typing import Any

from headrace.errors import ConfigurationError


def named(path: str) -> Any:
    """Return the attribute; raise ``ConfigurationError`` when module or attribute are not there."""
    module, _, attribute = path.partition(":")
    if not attribute:
        raise ConfigurationError(f"estimator path {path!r} names no attribute", "write module:attribute")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"estimator {path!r} cannot be loaded", str(error)) from error

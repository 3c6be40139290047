"""The manifest of audit: it closes no tick, since what it signs is that all others have."""

from headrace.bus.observer import Observer
from headrace.local.settings import Settings
from headrace.store.keys import signing_key
from services.audit.handler import Audit


def observer(settings: Settings) -> Observer:
    """Return the audit of all pipelines, which signs with the installation's key."""
    return Audit(signing_key(settings.home))

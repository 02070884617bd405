"""Outbox to PACS, and the PACS's promise to keep what it got."""

from spinepacs.delivery.courier import Courier, deliver
from spinepacs.delivery.sending import associate

__all__ = ["Courier", "associate", "deliver"]

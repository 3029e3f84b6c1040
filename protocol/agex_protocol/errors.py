"""Errors of the wire, and the one base that every error of the project derives from.

AgexError
  ProtocolError          bytes that break the rules; the worker that wrote them is killed
    FrameTooLarge        a length above the cap; refused before a byte of it is read
    Truncated            the stream ended inside a frame
    ValueRefused         a value that is beyond the decoding budget or not of its declared shape
  NotPortable            a value that has no form on the wire; raised where it is encoded
"""

from __future__ import annotations


class AgexError(Exception):
    """Base of every error that agex raises on purpose."""


class ProtocolError(AgexError):
    """The peer broke the rules of the conversation. Its process is not to be trusted any further."""


class FrameTooLarge(ProtocolError):
    """A frame announced more bytes than its channel allows."""


class Truncated(ProtocolError):
    """The stream ended in the middle of a frame."""


class ValueRefused(ProtocolError):
    """An encoded value is malformed, beyond the decoding budget, or not of its declared shape."""


class NotPortable(AgexError):
    """A value cannot cross the boundary under its declared type; the message says where it is and why."""

"""Ocho gateway: company-document chatbots that answer in five seconds, with the same facts every time."""

__version__ = "0.1.0"

"""Measurements of Ocho over HTTP, and the servers they need; not part of the installed package."""

import gateway as gateway  # before numpy, so that it runs here as it does in a gateway

"""A stand-in provider: OpenAI and Azure over real HTTP, slow and fallible like the real ones, with checkable answers.

```python
async with running_provider(ProviderConfig(profile="instant")) as provider:
    client = AsyncOpenAI(base_url=provider.base_url, api_key="any")
    ...
    assert len(provider.calls) == 1
```
"""

from bench.provider.config import Faults, ProviderConfig
from bench.provider.profiles import PROFILES, LatencyProfile
from bench.provider.records import Call, Fault
from bench.provider.server import Provider, running_provider
from bench.provider.truths import Truths

__all__ = [
    "PROFILES",
    "Call",
    "Fault",
    "Faults",
    "LatencyProfile",
    "Provider",
    "ProviderConfig",
    "Truths",
    "running_provider",
]

"""The accounts of the keys that have limits, charged by the ledger and written to the log."""

from __future__ import annotations

from gateway.accounts.accounts import MONEY, REQUESTS, TOKENS, Account, Accounts, Limit
from gateway.ingress.auth import key_id
from gateway.logs import AccessLog
from gateway.metrics import Metrics
from gateway.routing.spend import Ledger, Spent
from gateway.settings import Settings
from gateway.settings.server import KeySettings


def accounts_of(settings: Settings, metrics: Metrics) -> Accounts:
    found = []
    for holder in settings.auth.keys:
        if limits := limits_of(holder):
            found.append(Account(key_id(holder.key.get_secret_value()), holder.tenant, limits))
    return Accounts(found, metrics)


def limits_of(holder: KeySettings) -> tuple[Limit, ...]:
    budget = holder.budget
    given = (
        (REQUESTS, "minute", holder.rpm),
        (TOKENS, "minute", holder.tpm),
        (MONEY, "day", budget.per_day),
        (MONEY, "month", budget.per_month),
        (TOKENS, "day", budget.tokens_per_day),
        (TOKENS, "month", budget.tokens_per_month),
    )
    return tuple(Limit(what, period, most) for what, period, most in given if most is not None)


def keep_accounts(ledger: Ledger, accounts: Accounts, log: AccessLog) -> None:
    """Have every upstream call charged to its key, and told in a line of the log."""

    def charge(spent: Spent) -> None:
        accounts.spent(spent.ctx.key_id, spent.prompt_tokens + spent.completion_tokens, spent.money)
        log.spent(
            spent.ctx.id, spent.ctx.tenant.id, spent.model, spent.reason, spent.prompt_tokens,
            spent.completion_tokens, spent.money,
        )  # fmt: skip

    ledger.listeners.append(charge)

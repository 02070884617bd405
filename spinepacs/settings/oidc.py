"""The table ``[web.oidc]`` of the settings file: logging in to the console by OpenID Connect."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from spinepacs.settings.partners import address_of, check_one_secret, read_secret
from spinepacs.settings.types import Seconds, Section, check_url, is_loopback


class OidcSettings(Section):
    """A provider (Keycloak, Entra ID, Authentik …) that says who somebody is and what this person may do here."""

    issuer: str
    """As the provider names itself, ``https://…``; ``http://`` to this machine only."""
    client_id: str = Field(min_length=1)
    secret_file: Path | None = None
    """File that holds the client's secret and nothing else; neither file nor variable: a public client."""
    secret_variable: str = ""
    """Environment variable that holds it, instead."""
    scopes: tuple[str, ...] = ("openid", "profile")
    name_claim: str = "preferred_username"
    """Claim that names the account."""
    role_claim: str = "roles"
    """Claim that holds roles or groups; dots lead inwards, as in ``realm_access.roles``."""
    roles: dict[str, Literal["viewer", "reader", "administrator"]] = Field(min_length=1)
    """Which value of that claim is which role here; the highest counts, and who has none is not let in."""
    label: str = Field(default="Single sign-on", min_length=1, max_length=64)
    """What the login page calls it."""
    local_accounts: bool = True
    """Off: accounts with a password of their own cannot log in, also when the provider is away."""
    tls_ca: Path | None = None
    """Certificates of the authorities that vouch for the provider, PEM; not set: those that Python brings."""
    timeout_s: Seconds = 10.0

    @field_validator("issuer")
    @classmethod
    def _is_trusted(cls, value: str) -> str:
        check_url(value)
        if not value.startswith("https:") and not is_loopback(address_of(value)[0]):
            raise ValueError("give https://: who it says somebody is could else be anybody's word")
        return value

    @field_validator("scopes")
    @classmethod
    def _asks_who(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in value:
            raise ValueError(
                'name "openid" among the scopes: else the provider says nothing of who somebody is'
            )
        return value

    @model_validator(mode="after")
    def _has_one_secret(self) -> Self:
        check_one_secret(self.secret_file, self.secret_variable)
        return self

    def secret(self) -> str:
        """The client's secret as it is now; raises as :func:`read_secret`."""
        return read_secret(self.secret_file, self.secret_variable)

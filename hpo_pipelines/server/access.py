"""Who asks, and as what: by a token, by a proxy that has checked, or, on this machine alone, whoever started us."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.server.roles import Role
from hpo_pipelines.server.tokens import PREFIX, TokenFile

COOKIE = "hpo_token"
_LONGEST = 512
"""Of a token or a user's name in a header; what is longer is none."""


@dataclass(frozen=True)
class Who:
    """Somebody who may ask."""

    name: str
    role: Role
    by: str
    """``local``, ``token``, ``cookie`` or ``proxy``."""

    def may(self, role: str) -> bool:
        """Whether this one may what ``role`` may."""
        return self.role >= Role[role.upper()]


LOCAL = Who("", Role.AUTHOR, "local")
"""The person who started a server that only this machine can reach."""


@dataclass(frozen=True)
class Proxy:
    """A reverse proxy that logs people in and names them in ``header``; believed only from ``addresses``."""

    header: str
    addresses: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    role: Role = Role.VIEWER

    @classmethod
    def of(cls, header: str, addresses: Sequence[str], role: Role = Role.VIEWER) -> Proxy:
        """Addresses are those of hosts or networks (``10.0.0.0/8``). Raises ConfigError."""
        if not addresses:
            raise ConfigError(
                f"--proxy-user-header {header} is believed only from addresses that are given: anybody else could "
                "write it too. Say --proxy-address with the proxy's own address, such as 127.0.0.1."
            )
        if not header or not all(letter.isalnum() or letter in "-_" for letter in header):
            raise ConfigError(f"--proxy-user-header {header!r} is no name of a header; one is X-Forwarded-User.")
        found = []
        for address in addresses:
            try:
                found.append(ipaddress.ip_network(address))
            except ValueError as error:
                raise ConfigError(
                    f"--proxy-address {address!r}: {error}; give an address or a network, such as 10.0.0.0/8."
                ) from None
        return cls(header, tuple(found), role)

    def trusts(self, peer: str) -> bool:
        """Whether ``peer``, the address a request came from, is the proxy's."""
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # a socket for both kinds shows IPv4 as ::ffff:10.0.0.1
        return any((mapped or address) in network for network in self.addresses)


@dataclass(frozen=True)
class Access:
    """How somebody is known. With neither tokens nor a proxy everybody is the one who started the server."""

    tokens: TokenFile | None = None
    proxy: Proxy | None = None

    @property
    def is_open(self) -> bool:
        return self.tokens is None and self.proxy is None

    def who(self, headers: Headers, peer: str) -> Who | None:
        """Who asks, None for nobody that is known.

        A token in ``Authorization`` goes before one in the cookie, and both before the proxy's word, so that somebody
        whom the proxy lets in can be more by a token. A token that is none is nobody, whatever else comes with it.
        """
        if self.is_open:
            return LOCAL
        sent = _bearer(headers)
        if sent is not None:
            return self._by_token(sent, "token")
        kept = token_in(headers)
        found = self._by_token(kept, "cookie") if kept else None
        return found or self._by_proxy(headers, peer)

    def _by_token(self, text: str, by: str) -> Who | None:
        token = self.tokens.find(text) if self.tokens is not None and len(text) <= _LONGEST else None
        return None if token is None else Who(token.name, token.role, by)

    def _by_proxy(self, headers: Headers, peer: str) -> Who | None:
        if self.proxy is None or not self.proxy.trusts(peer):
            return None
        names = headers.getlist(self.proxy.header)
        # Twice: one may be the visitor's own, which the proxy did not take out.
        if len(names) != 1 or not names[0].strip() or len(names[0]) > _LONGEST:
            return None
        return Who(names[0].strip(), self.proxy.role, "proxy")

    def is_encrypted(self, headers: Headers, peer: str, scheme: str) -> bool:
        """Whether the browser talks HTTPS, to us or to the proxy."""
        forwarded = headers.get("x-forwarded-proto", "") if self.proxy is not None and self.proxy.trusts(peer) else ""
        return (forwarded or scheme) == "https"


def _bearer(headers: Headers) -> str | None:
    """A token of ours in ``Authorization: Bearer``; those of others, which a proxy may pass on, are not for us."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    value = value.strip()
    return value if kind.lower() == "bearer" and value.startswith(PREFIX) else None


def token_in(headers: Headers) -> str | None:
    """The token in our cookie."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)

"""Certificates as an admin sees them: for whom, by whom, until when, and what to do if they are refused."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from OpenSSL.crypto import X509

from matrixd.net.tls import names_of

_DAY_S = 24 * 60 * 60
#: Those that are renewed by a program are so 30 days before their end; some are good for only six days.
_ENDS_SOON_DAYS = 14
#: What to do at its end.
RENEW = (
    "Renew it, and let the web server read it again: for example `certbot renew` and `nginx -s reload`. A listener of "
    "matrixd with `tls: true` takes a restart."
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. Times are seconds since the epoch."""

    names: tuple[str, ...]
    issuer: str
    begins: float
    ends: float
    is_self_signed: bool
    #: How many certificates the server sent with it.
    others: int

    @staticmethod
    def of(chain: Sequence[X509]) -> "Certificate | None":
        """The first of a chain; None of an empty one, or one that cannot be read."""
        if not chain:
            return None
        try:
            read = chain[0].to_cryptography()
            issuer = _name(read.issuer)
            return Certificate(
                names_of(chain[0]),
                issuer,
                read.not_valid_before_utc.timestamp(),
                read.not_valid_after_utc.timestamp(),
                read.issuer == read.subject,
                len(chain) - 1,
            )
        except ValueError:
            return None

    def days_left(self, now_s: float) -> int:
        """Whole days until its end; negative after it."""
        return int((self.ends - now_s) // _DAY_S)

    def ends_soon(self, now_s: float) -> bool:
        """Whether somebody should have renewed it."""
        limit = min(_ENDS_SOON_DAYS, (self.ends - self.begins) / _DAY_S / 4)
        return (self.ends - now_s) / _DAY_S < limit

    def describe(self, now_s: float) -> str:
        """A sentence."""
        days = self.days_left(now_s)
        end = f"ends in {_days(days)}" if days >= 0 else f"ended {_days(-days)} ago"
        return f"The certificate is for {', '.join(self.names) or 'no name'}, by {self.issuer}, and {end}."

    def cure(self, tls_name: str, now_s: float) -> str:
        """What to do if it is refused as one for `tls_name`."""
        if self.ends < now_s:
            return RENEW
        if self.begins > now_s:
            return "Set the clock of the machine that runs this check; if it is right, get a certificate that is valid."
        if self.is_self_signed:
            return (
                f"Other servers accept only certificates of public authorities. Get one for {tls_name}, for example "
                f"free of charge: `certbot certonly -d {tls_name}`."
            )
        if not _is_for(self.names, tls_name):
            return (
                f"The certificate must name {tls_name}, which is where other servers were sent. Get one that does "
                f"(`certbot certonly -d {tls_name}`), and give it to the `server {{ … }}` block of nginx with "
                f"`server_name {tls_name};` on this port. Or send other servers elsewhere by "
                "/.well-known/matrix/server: then the certificate is to name what stands there. An SRV record does "
                "not change the name."
            )
        if not self.others:
            return (
                "The server sends its own certificate without the intermediate one that vouches for it. Browsers "
                "find it somewhere else, servers do not. Use the file with the whole chain: in nginx "
                "`ssl_certificate …/fullchain.pem;`, in matrixd `tls_certificate_path: …/fullchain.pem`."
            )
        return (
            f"Other servers must know the authority ({self.issuer}). Get a certificate of a public one; in a closed "
            "network name the authority's file in `federation_custom_ca_list` of every server."
        )


def _is_for(names: Sequence[str], tls_name: str) -> bool:
    wanted = tls_name.lower().rstrip(".")
    wildcard = f"*.{wanted.partition('.')[2]}"
    return any(name.lower() in (wanted, wildcard) for name in names)


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _name(name: x509.Name) -> str:
    for oid in (x509.NameOID.ORGANIZATION_NAME, x509.NameOID.COMMON_NAME):
        found = name.get_attributes_for_oid(oid)
        if found:
            common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
            parts = dict.fromkeys(str(each.value)[:80] for each in (*found[:1], *common[:1]))
            return " ".join(parts)
    return "an authority without a name"

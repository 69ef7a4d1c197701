"""Keys that domains sign their mail with (DKIM), in ``domains.conf``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from moxtwisted.config.schema.structure import ConfigStruct, Seconds

_Form = Literal["relaxed", "simple"]


class DKIMSelector(ConfigStruct, frozen=True, kw_only=True):
    """A key, published in the DNS as a TXT record at ``<name>._domainkey`` of the domain; ``moxmail dkim records`` prints it."""

    private_key_file: Annotated[
        str,
        Meta(
            min_length=1,
            description="The private key in PEM (PKCS #8), RSA with 2048 to 4096 bits or Ed25519, readable by the server's user "
            "alone. Read again when it changes.",
            examples=["dkim/2026a.example.org.pem"],
        ),
    ]
    state: Annotated[
        Literal["active", "standby", "retired"],
        Meta(
            description="active: the key signs. standby: its record is published already, it does not sign yet. "
            "retired: it signs no more, its record stays until mail signed with it has arrived everywhere."
        ),
    ] = "active"
    header_canonicalization: Annotated[
        _Form,
        Meta(
            description="What servers on the way may change in the header without breaking the signature: white space and folds "
            "(relaxed), or nothing (simple)."
        ),
    ] = "relaxed"
    body_canonicalization: Annotated[
        _Form,
        Meta(
            description="The same for the body: white space at ends of lines and its amount (relaxed), or nothing (simple)."
        ),
    ] = "relaxed"
    headers: Annotated[
        tuple[str, ...],
        Meta(
            description="Fields that are signed; From is in any case. Empty: From, To, Cc, Bcc, Reply-To, References, In-Reply-To, "
            "Subject, Date, Message-ID, Content-Type."
        ),
    ] = ()
    oversign: Annotated[
        bool,
        Meta(
            description="Also sign that there are no more fields of these names, so that none can be added on the way."
        ),
    ] = True
    expiration_seconds: Annotated[
        Seconds,
        Meta(
            ge=0,
            le=10**9,
            description="How long a signature holds; longer than a message may wait in a queue. 0: for ever.",
        ),
    ] = 7 * 86400

"""``[authentication.authority]`` of ``mox.conf``: who decides on log-ins beside us."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from moxtwisted.config.schema.structure import ConfigStruct, Count, Seconds


class Authority(ConfigStruct, frozen=True, kw_only=True):
    """A Nauthilus that decides on passwords, asked over HTTP. It is asked with the password: SCRAM and CRAM-MD5 never show one, so
    they are not offered with it, only PLAIN and LOGIN (over TLS), and EXTERNAL, whose client keys stay ours."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^https?://[!-~]+$",
            title="https://host:port",
            description="Where it is, without a path; http:// only on this machine, as passwords go there.",
            examples=["https://nauthilus.example.org:9443"],
        ),
    ]
    credentials_file: Annotated[
        str,
        Meta(
            description="A file with what it knows us by, in one line: `name:password` (Basic) or a token (Bearer). A relative "
            "path starts at the directory of mox.conf. Empty: nothing."
        ),
    ] = ""
    ca_file: Annotated[
        str,
        Meta(
            description="Certificates of authorities, in PEM, one of which must have signed its certificate. Empty: those that "
            "this machine trusts."
        ),
    ] = ""
    mode: Annotated[
        Literal["instead", "also"],
        Meta(
            description="instead: it alone says whether a password is right (the account must be here). also: the password must be "
            "right here, then it must agree; it is told of passwords that are wrong here."
        ),
    ] = "instead"
    when_unavailable: Annotated[
        Literal["local", "refuse"],
        Meta(
            description="When it does not answer in time or makes no sense. refuse: clients are told to come again later. local: "
            "passwords that are kept here decide."
        ),
    ] = "refuse"
    seconds: Annotated[Seconds, Meta(ge=0.1, le=60, description="How long it may take for an answer.")] = 5.0
    failures_before_pause: Annotated[
        Count,
        Meta(description="Questions in a row without an answer, after which it is left alone for a while."),
    ] = 5
    pause_seconds: Annotated[Seconds, Meta(ge=1, le=3600, description="How long that is.")] = 30.0

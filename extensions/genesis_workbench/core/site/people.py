"""Who gets in, and by what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genesis_workbench.core.site._section import Section


class OidcSection(Section):
    """An OpenID Connect provider that says who somebody is and which groups they are in."""

    issuer: str = Field(
        "",
        description="Its address, below which '/.well-known/openid-configuration' is; https unless on loopback.",
    )
    ca_file: str = Field(
        "", description="Certificates that its certificate must come from; the system's where empty."
    )
    client_id: str = Field("", description="Name of this workbench at the provider.")
    client_secret_file: str = Field("", description="File that holds the secret that goes with it.")
    title: str = Field("your organisation", description="What the button says: 'Sign in with …'.")
    scopes: list[str] = Field(
        default_factory=lambda: ["openid", "profile", "email"], description="What is asked for."
    )
    name_claim: str = Field("preferred_username", description="Claim that becomes a person's name here.")
    groups_claim: str = Field(
        "groups", description="Claim that lists groups; dots lead inwards ('realm_access.roles')."
    )
    allowed_groups: list[str] = Field(
        default_factory=list, description="Groups that get in; whoever the provider knows where empty."
    )
    admin_groups: list[str] = Field(default_factory=list, description="Groups of administrators.")


class LdapSection(Section):
    """A directory that knows people, their passwords and their groups."""

    url: str = Field(
        "",
        description="Its address, 'ldaps://ldap.example.org'. With 'ldap://' the connection is encrypted by StartTLS before a "
        "word is said.",
    )
    ca_file: str = Field(
        "", description="Certificates that its certificate must come from; the system's where empty."
    )
    bind_dn: str = Field(
        "", description="Account of the directory that looks people and groups up; nobody where empty."
    )
    bind_password_file: str = Field("", description="File that holds its password, mode 0600.")
    people_base: str = Field("", description="Where people are, such as 'ou=people,dc=example,dc=org'.")
    name_attribute: str = Field("uid", description="Attribute that becomes a person's name here.")
    people_filter: str = Field("(objectClass=*)", description="What else must be true of them.")
    groups_base: str = Field("", description="Where groups are; nobody is in one where empty.")
    group_attribute: str = Field("cn", description="Attribute that becomes a group's name.")
    member_attributes: list[str] = Field(
        default_factory=lambda: ["member", "uniqueMember", "memberUid"],
        description="Attributes of a group that list its people, by their place in the directory or by their name.",
    )
    allowed_groups: list[str] = Field(
        default_factory=list, description="Groups that get in; whoever the directory knows where empty."
    )
    admin_groups: list[str] = Field(default_factory=list, description="Groups of administrators.")
    timeout_s: float = Field(5, gt=0, description="How long it may take to answer.")


class PeopleSection(Section):
    """Who gets in."""

    authenticator: Literal["people", "oidc", "ldap"] = Field(
        "people",
        description="'people': names and passwords kept by `workbench users`, only on loopback; 'oidc': an OpenID Connect "
        "provider; 'ldap': a directory.",
    )
    ldap: LdapSection = Field(default_factory=LdapSection)
    oidc: OidcSection = Field(default_factory=OidcSection)
    admins: list[str] = Field(default_factory=lambda: ["admin"], description="Names of the administrators.")

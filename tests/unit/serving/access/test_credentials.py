from serving.access.credentials import ANONYMOUS, Credentials, PeerCertificate


def test_credentials_in_a_log_line_show_what_was_brought_and_no_secret():
    shown = f"{Credentials(b'Bearer planted-token', b'planted-key', PeerCertificate('CN=soar'))!r}"
    assert shown == "Credentials(authorization, api_key, certificate)"


def test_nobody_has_no_name_no_tenant_and_no_role():
    assert (ANONYMOUS.name, ANONYMOUS.tenant, ANONYMOUS.roles) == ("", "", frozenset())

"""Signatures made elsewhere: by OpenSSF's `model_signing` 1.1.1, `sign key` with a P-256 key, of a folder of two files."""

FILES = {
    "bundle.json": "98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4",
    "rules/a.yml": "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac",
}
PUBLIC = b"""\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvZodH6wajHbBSfDOxmh/TJ7kY9oa
7E+IQBlBipo87a11VaWfszWxv26//4lamZtUIPsu41pnwH2jiaTO4tr2XQ==
-----END PUBLIC KEY-----
"""
SIGNATURE = (
    b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"07ee'
    b'd5bedf4fc0257585de180b43ff8f1c4954d155610822077efbdcf0a45fef"},"tlogEntries":[]},"dsseEnvelope":{"payload":"ew'
    b"ogICJfdHlwZSI6ICJodHRwczovL2luLXRvdG8uaW8vU3RhdGVtZW50L3YxIiwKICAic3ViamVjdCI6IFsKICAgIHsKICAgICAgIm5hbWUiOiAi"
    b"bSIsCiAgICAgICJkaWdlc3QiOiB7CiAgICAgICAgInNoYTI1NiI6ICJjNDExYTQ5MjRlYTg0NjM5M2VmMmVlNDZkMTMyZDQ3ZTJlMDM1ZGUwYm"
    b"RjYTNhNjMyMzUzOWFmMjk1Y2M5NThmIgogICAgICB9CiAgICB9CiAgXSwKICAicHJlZGljYXRlVHlwZSI6ICJodHRwczovL21vZGVsX3NpZ25p"
    b"bmcvc2lnbmF0dXJlL3YxLjAiLAogICJwcmVkaWNhdGUiOiB7CiAgICAicmVzb3VyY2VzIjogWwogICAgICB7CiAgICAgICAgImFsZ29yaXRobS"
    b"I6ICJzaGEyNTYiLAogICAgICAgICJuYW1lIjogImJ1bmRsZS5qc29uIiwKICAgICAgICAiZGlnZXN0IjogIjk4ZWE2ZTRmMjE2ZjJmYjRiNjlm"
    b"ZmY5YjNhNDQ4NDJjMzg2ODZjYTY4NWYzZjU1ZGM0OGM1ZDNmYjExMDdiZTQiCiAgICAgIH0sCiAgICAgIHsKICAgICAgICAiYWxnb3JpdGhtIj"
    b"ogInNoYTI1NiIsCiAgICAgICAgIm5hbWUiOiAicnVsZXMvYS55bWwiLAogICAgICAgICJkaWdlc3QiOiAiNzNjYjM4NThhNjg3YTg0OTRjYTMz"
    b"MjMwNTMwMTYyODJmM2RhZDM5ZDQyY2Y2MmNhNGU3OWRkYTJhYWM3ZDlhYyIKICAgICAgfQogICAgXSwKICAgICJzZXJpYWxpemF0aW9uIjogew"
    b"ogICAgICAibWV0aG9kIjogImZpbGVzIiwKICAgICAgImFsbG93X3N5bWxpbmtzIjogZmFsc2UsCiAgICAgICJpZ25vcmVfcGF0aHMiOiBbCiAg"
    b"ICAgICAgIi5naXQiLAogICAgICAgICIuZ2l0aHViIiwKICAgICAgICAiLmdpdGlnbm9yZSIsCiAgICAgICAgIi5naXRhdHRyaWJ1dGVzIgogIC"
    b'AgICBdLAogICAgICAiaGFzaF90eXBlIjogInNoYTI1NiIKICAgIH0KICB9Cn0=","payloadType":"application/vnd.in-toto+json","'
    b'signatures":[{"sig":"MEYCIQDZD9DNKviYHzQwc4rMjL9Bvwp3u69K5rTeRoQCk+HAfQIhAIyLeYg72DegRq380pgQo9GkSR1YLDuIVYS5N'
    b'DdbrAe/","keyid":""}]}}'
)

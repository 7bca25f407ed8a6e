"""Forms in which secrets come into texts: of errors, of logs, of study files, of environments."""

import json
import shlex
from collections.abc import Callable
from urllib.parse import quote

#: Around a secret without white space, quotes or commas.
PLAIN = (
    "postgresql://ann:{}@host/db",
    "first http://ann:{}@host:5000/a?b=c then more",
    "https://{}@github.com/ann/repository.git",
    "http://host/?user=ann&password={}&b=c",
    "https://host/file?X-Amz-Signature={}&X-Amz-Date=1",
    "https://host/file?sv=1&sig={}&se=2",
    "host=db user=ann password={} port=5432",
    "Driver=x;UID=ann;PWD={};Port=3",
    "AccountName=ann;AccountKey={};EndpointSuffix=core",
    "PGPASSWORD={}",
    "export MLFLOW_TRACKING_PASSWORD={}",
    "  - export PGPASSWORD={}\n  - module load cuda",
    "AWS_SECRET_ACCESS_KEY={} aws s3 ls",
    "MLFLOW_TRACKING_TOKEN={}",
    "HF_TOKEN = {}",
    "access_token={}",
    "password%3D{}%26port%3D1",
    "sweep --password {} --port 1",
    "sweep --api-key={} x",
    "password: {}",
    "db:\n  password: {}  # mine\n  port: 1",
    "{user: ann, api_key: {}, port: 1}",
    "X-Api-Key: {}",
    "Authorization: Bearer {}",
    "proxy-authorization: Basic {}",
    'Authorization: Digest username="ann", response="{}"',
    "curl -H 'PRIVATE-TOKEN: {}' https://host",
    "Cookie: session={}; theme=dark",
    "Set-Cookie: a=b; session={}; HttpOnly",
    "with Bearer {}",
    "invalid token: {}1234567 at line 3",
    "refused: Credential={}/20260101/eu",
    "-----BEGIN RSA PRIVATE KEY-----\nMII{}\n{}==\n-----END RSA PRIVATE KEY-----",
    "<server token={} port=1>",
    "OPENAI_KEY={} DB_PASS={} MYSQL_PWD={} ./run",
    "encryption_key: {}",
    "curl -u ann:{} https://host",
    "curl --user=ann:{} https://host",
)
#: Secrets of which their first letters tell that they are some.
TOKENS = (
    "OSError: ghp_{}0123456789abcdef is not valid",
    "login('hf_{}0123456789abcdef')",
    "openai.ask('sk-{}0123456789abcdef')",
    "eyJhbGciOi.eyJzdWIiOi{}0123456789abcdef.sig",
)
#: Around any secret, which is written as such texts write it.
QUOTED: tuple[Callable[[str], str], ...] = (
    lambda secret: f"postgresql://ann:{quote(secret, safe='')}@host/db",
    lambda secret: repr({"AWS_SECRET_ACCESS_KEY": secret, "port": 1}),
    lambda secret: json.dumps({"user": "ann", "sslpassword": secret, "port": 1}),
    lambda secret: json.dumps(json.dumps({"access_token": secret})),
    lambda secret: repr([("Authorization", f"Bearer {secret}")]),
    lambda secret: repr((b"x-auth-token", secret.encode())),
    lambda secret: repr({"Cookie": f"session={secret}"}),
    lambda secret: f"connect(host='db', password={secret!r}, port=5432)",
    lambda secret: f"os.environ['PGPASSWORD'] = {secret!r}",
    lambda secret: f"setenv('HF_TOKEN', {secret!r})",
    lambda secret: repr(["psql", "--password", secret, "db"]),
    lambda secret: f"requests.get(url, auth={('ann', secret)!r}, timeout=1)",
    lambda secret: f"export PGPASSWORD={shlex.quote(secret)}; psql",
    lambda secret: f"sweep --api-key {shlex.quote(f'{secret} {secret}')} --port 1",
    lambda secret: f"ALTER USER ann PASSWORD {secret!r}",
    lambda secret: f"private_key: {json.dumps(secret)}",
    lambda secret: f"secretAccessKey: {secret!r}, port: 1",
)


def all_forms(secret: str) -> list[str]:
    """Every form, around a secret that is one word."""
    return [
        *(form.replace("{}", secret) for form in PLAIN + TOKENS),
        *(form(secret) for form in QUOTED),
    ]

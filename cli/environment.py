"""`relay env`: the variables that the examples of README and docs use."""

from __future__ import annotations

import shlex

import click

from cli.answer import Answer
from cli.command import Command, Relay
from cli.connection import LOCAL_CREDENTIALS, read_stack_file


@click.command(cls=Command, examples=["env"])
def env(relay: Relay) -> Answer:
    """Print the variables of the documentation's examples as shell commands: eval "$(relay --local env)".

    API and INBOX; of a local stack also KEY and RELAY_API_KEY, the AWS settings, and the certificate authority for
    curl, Python and Node.js: use a shell of its own.
    """
    variables: dict[str, str] = {}
    if relay.stack_file:
        stack = read_stack_file(relay.stack_file)
        variables = dict.fromkeys(("KEY", "RELAY_API_KEY"), str(stack.get("api_key", "")))
        variables |= {"AWS_ENDPOINT_URL": stack["aws_endpoint_url"], "AWS_DEFAULT_REGION": stack["region"]}
        variables |= {name.upper(): value for name, value in LOCAL_CREDENTIALS.items()}
        bundles = ("AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        variables |= dict.fromkeys(bundles, stack["aws_ca_bundle"])
        variables |= {"API": stack.get("api_url", ""), "INBOX": stack.get("inbox_bucket", "")}
    else:
        variables = {"API": relay.connection.output("ApiUrl"), "INBOX": relay.connection.resource("InboxBucket")}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    return Answer("\n".join(lines), variables)

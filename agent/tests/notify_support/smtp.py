# A mail server that misbehaves as told: `smtp.py MODE CERTIFICATE KEY`, MODE plain, starttls or tls.
# Tells its port, then a line of JSON for each mail.
import asyncio, json, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

mode, certificate, key = sys.argv[1:4]
later = set()
tries = {}


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        if address.startswith("full@"):
            return "552 5.2.2 full"
        if address.startswith("disliked@"):
            return "554 5.6.0 content"
        if address.startswith("twice@") and tries.get(address, 0) < 2:
            tries[address] = tries.get(address, 0) + 1
            return "452 4.2.2 full"
        if address.startswith("later@") and address not in later:
            later.add(address)
            return "451 4.7.1 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "hello": session.host_name, "tls": server.transport.get_extra_info("ssl_object") is not None, "user": session.auth_data,
            "from": envelope.mail_from, "to": envelope.rcpt_tos,
            "content": envelope.content.decode("utf-8"),
        }), flush=True)
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"sysops", b"s3cret-pass")
    return AuthResult(success=good, handled=False, auth_data=data.login.decode() if good else None)


context = None
if mode != "plain":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)


def factory():
    return SMTP(
        Handler(),
        hostname="mail.test",
        tls_context=context if mode == "starttls" else None,
        require_starttls=mode == "starttls",
        authenticator=login,
        auth_required=mode != "plain",
        auth_require_tls=mode == "starttls",
    )


async def main():
    server = await asyncio.get_running_loop().create_server(
        factory, "127.0.0.1", 0, ssl=context if mode == "tls" else None
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


asyncio.run(main())

# mypy: ignore-errors
import json
import os
from wsgiref.simple_server import make_server

from leancloud import Engine

engine = Engine()


@engine.define
def _messageReceived(fromPeer, toPeers, content, **params):
    if "casino" in content:
        return {"drop": True, "code": 1001, "detail": "no advertising"}
    if content.startswith("@"):
        return {"toPeers": [content[1:].split()[0]]}
    return {"content": content.replace("damn", "d***")}


@engine.define
def _receiversOffline(fromPeer, offlinePeers, **params):
    if fromPeer.startswith("robot"):
        return {"skip": True}
    return {"pushMessage": json.dumps({"alert": "A message from " + fromPeer})}


@engine.define
def _conversationAdd(initBy, members, convId, **params):
    if initBy in members:
        return {"reject": True, "code": 1002, "detail": "ask somebody to add you"}
    return {}


@engine.define
def _clientOnline(peerId, **params):
    print(peerId, "is online", flush=True)


if __name__ == "__main__":
    server = make_server("127.0.0.1", int(os.environ["LEANCLOUD_APP_PORT"]), engine)
    print("listening on port", server.server_port, flush=True)
    server.serve_forever()

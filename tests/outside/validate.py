"""Has LINE's official SDK for Python check webhooks: their signatures, and that its models take their events.

Reads lines of {"secret","signature","body"}; exits with 1 when any is wrong. Wants `line-bot-sdk`.
"""

import json
import sys

from linebot.v3 import SignatureValidator, WebhookParser
from linebot.v3.exceptions import InvalidSignatureError
from linebot.v3.models.events import UnknownEvent

# What the SDK has no model for: taken out of LINE's OpenAPI, or made up here. It keeps such events as unknown ones.
WITHOUT_MODEL = {"things", "greatNewFeature", "hologram"}


def check(secret, signature, body):
    """Verifies and parses one webhook, and compares what the models kept with what the body says."""
    if not SignatureValidator(secret).validate(body, signature):
        raise ValueError("the signature is refused")
    try:
        WebhookParser(secret).parse(body + " ", signature)
        raise ValueError("another body is accepted with this signature")
    except InvalidSignatureError:
        pass
    parsed = WebhookParser(secret).parse(body, signature, as_payload=True)
    raw = json.loads(body)
    if parsed.destination != raw["destination"] or len(parsed.events) != len(raw["events"]):
        raise ValueError("the envelope is read otherwise")
    for event, said in zip(parsed.events, raw["events"]):
        compare(event, said)


def compare(event, said):
    """Raises where the model of an event differs from what was sent."""
    kind = said["type"]
    message = said.get("message", {})
    if isinstance(event, UnknownEvent):
        if not {kind, message.get("type")} & WITHOUT_MODEL:
            raise ValueError(f"{kind} {message.get('type')}: the SDK can't read it")
        return
    if event.webhook_event_id != said["webhookEventId"] or event.timestamp != said["timestamp"]:
        raise ValueError(f"{kind}: id or time is read otherwise")
    if event.delivery_context.is_redelivery != said["deliveryContext"]["isRedelivery"]:
        raise ValueError(f"{kind}: redelivery is read otherwise")
    if message and event.message.id != message["id"]:
        raise ValueError(f"{kind}: the message's id is read otherwise")
    if message and getattr(event.message, "text", None) != message.get("text"):
        raise ValueError(f"{kind}: the text is read otherwise")


def main():
    validated = failed = 0
    for line in sys.stdin:
        if not line.strip():
            continue
        signed = json.loads(line)
        try:
            check(signed["secret"], signed["signature"], signed["body"])
            validated += 1
        except Exception as error:  # whatever the SDK raises is a finding
            failed += 1
            print(f"{error!r}: {signed['body'][:300]}", file=sys.stderr)
    print(f"{validated} bodies validated")
    return 1 if failed or not validated else 0


sys.exit(main())

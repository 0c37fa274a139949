"""The SDK's FastAPI sample (examples/fastapi-echo), with one INSERT an event where the sample replies."""

import json
import os
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI, HTTPException, Request
from linebot.v3 import WebhookParser
from linebot.v3.exceptions import InvalidSignatureError

INSERT = """insert into webhook_event (webhook_event_id, destination, user_id, occurred_at, payload)
            values ($1, $2, $3, $4, $5) on conflict do nothing"""

parser = WebhookParser(os.environ["LINE_CHANNEL_SECRET"])


@asynccontextmanager
async def lifespan(app: FastAPI):
    # Where the database is comes from PGHOST and the like.
    async with asyncpg.create_pool(min_size=20, max_size=20) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/webhook/default")
async def webhook(request: Request):
    body = (await request.body()).decode()
    try:
        events = parser.parse(body, request.headers["X-Line-Signature"])
    except InvalidSignatureError:
        raise HTTPException(status_code=401, detail="Invalid signature")
    # The parser's events are models; what is kept is what was sent.
    sent = json.loads(body)
    for event, raw in zip(events, sent["events"]):
        row = (event.webhook_event_id, sent["destination"], event.source.user_id, event.timestamp)
        await app.state.pool.execute(INSERT, *row, json.dumps(raw, ensure_ascii=False))
    return "OK"

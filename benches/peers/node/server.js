// The SDK's echo sample (examples/echo-bot), with one INSERT an event where the sample replies.
'use strict';

const cluster = require('node:cluster');
const express = require('express');
const line = require('@line/bot-sdk');
const { Pool } = require('pg');

const WORKERS = 2;
const INSERT = {
  name: 'insert',
  text: `insert into webhook_event (webhook_event_id, destination, user_id, occurred_at, payload)
         values ($1, $2, $3, $4, $5) on conflict do nothing`,
};

function keep(destination, event) {
  const values = [event.webhookEventId, destination, event.source.userId, event.timestamp, JSON.stringify(event)];
  return pool.query({ ...INSERT, values });
}

if (cluster.isPrimary) {
  for (let worker = 0; worker < WORKERS; worker++) cluster.fork();
  return;
}

// Where the database is comes from PGHOST and the like.
const pool = new Pool({ max: 20 });
const app = express();
app.post('/webhook/default', line.middleware({ channelSecret: process.env.LINE_CHANNEL_SECRET }), async (req, res) => {
  await Promise.all(req.body.events.map((event) => keep(req.body.destination, event)));
  res.sendStatus(200);
});
app.use((error, req, res, next) => {
  res.sendStatus(error instanceof line.SignatureValidationFailed ? 401 : 500);
});
app.listen(Number(process.env.PORT), '127.0.0.1');

// Has LINE's official SDK for Node.js check webhooks: their signatures, and that it can read their events.
//
// Reads lines of {"secret","signature","body"}; exits with 1 when any is wrong.
// Wants `@line/bot-sdk`, found from NODE_PATH or from a node_modules beside or above the working directory.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import http from "node:http";

const require = createRequire(join(process.cwd(), "validate.mjs"));
const { middleware, validateSignature } = require("@line/bot-sdk");

/** What the SDK's own middleware makes of the request: it verifies, then parses. */
function handled({ secret, signature, body }) {
  return new Promise((resolve, reject) => {
    const app = http.createServer((request, response) => {
      middleware({ channelSecret: secret })(request, response, (error) => {
        response.end();
        error ? reject(error) : resolve(request.body);
      });
    });
    app.listen(0, "127.0.0.1", () => {
      const { port } = app.address();
      const headers = { "content-type": "application/json; charset=utf-8", "x-line-signature": signature };
      const request = http.request({ port, method: "POST", headers }, (response) => {
        response.resume();
        app.close();
      });
      request.end(body);
    });
  });
}

function wrongs(event) {
  const wrong = [];
  if (typeof event.type !== "string") wrong.push("type");
  if (!/^[0-9A-HJKMNP-TV-Z]{26}$/.test(event.webhookEventId)) wrong.push("webhookEventId");
  if (!Number.isInteger(event.timestamp)) wrong.push("timestamp");
  if (typeof event.deliveryContext?.isRedelivery !== "boolean") wrong.push("deliveryContext");
  if (!["active", "standby"].includes(event.mode)) wrong.push("mode");
  if (event.type === "message" && !/^[0-9]{18}$/.test(event.message.id)) wrong.push("message.id");
  const source = event.source ?? {};
  const ids = { user: source.userId, group: source.groupId, room: source.roomId };
  if (event.source && !/^[UCR][0-9a-f]{32}$|^LU[0-9a-f]{32}-U[0-9a-f]{32}$/.test(ids[source.type])) wrong.push("source");
  const text = event.message?.text ?? "";
  for (const { index, length, type } of event.message?.mention?.mentionees ?? []) {
    // JavaScript counts in UTF-16 code units too.
    if (!text.slice(index, index + length).startsWith("@")) wrong.push(`mention of ${type} at ${index}`);
  }
  return wrong;
}

let validated = 0;
let failed = 0;
for await (const line of createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const signed = JSON.parse(line);
  try {
    const forged = signed.signature.replace(/^./, (first) => (first === "A" ? "B" : "A"));
    if (!validateSignature(signed.body, signed.secret, signed.signature)) throw new Error("the signature is refused");
    if (validateSignature(signed.body, signed.secret, forged)) throw new Error("a forged signature is accepted");
    const { destination, events } = await handled(signed);
    if (!/^U[0-9a-f]{32}$/.test(destination)) throw new Error("destination");
    for (const event of events) {
      const wrong = wrongs(event);
      if (wrong.length > 0) throw new Error(`${event.type}: ${wrong.join(", ")}`);
    }
    validated += 1;
  } catch (error) {
    failed += 1;
    console.error(`${error.message}: ${signed.body.slice(0, 300)}`);
  }
}
console.log(`${validated} bodies validated`);
process.exit(failed > 0 || validated === 0 ? 1 : 0);

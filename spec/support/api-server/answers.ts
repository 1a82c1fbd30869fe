/** Owns what a scripted API server answers with: Status objects, and lists that arrive zipped, slowly or in half. */
import type { ServerResponse } from 'node:http';
import { gzip } from 'node:zlib';
import type { FaultAction } from './api-server.js';

export function status(code: number, reason: string, message: string, details: object = {}): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', code, reason, message, ...details };
}

export function tooLarge(asked: number, current: number): object {
  const message = `Too large resource version: ${asked}, current: ${current}`;
  const cause = { reason: 'ResourceVersionTooLarge', message: 'Too large resource version' };
  return status(504, 'Timeout', message, { details: { causes: [cause], retryAfterSeconds: 1 } });
}

export function refuse(
  response: ServerResponse,
  code: number,
  body: unknown = status(code, 'InternalError', 'scripted'),
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(code, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** A list, whole, or as the fault has it. */
export function answer(response: ServerResponse, text: string, zipped: boolean, fault: FaultAction | undefined): void {
  const send = (body: Buffer, headers: Record<string, string>) => {
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': `${body.length}`, ...headers });
    if (fault === 'cut') {
      response.write(body.subarray(0, body.length >> 1), () => response.socket?.destroy());
    } else if (fault === 'slow') dribble(response, body);
    else response.end(body);
  };
  if (!zipped || text.length < 1_024) send(Buffer.from(text), {});
  else gzip(text, { level: 1 }, (_error, body) => send(body, { 'Content-Encoding': 'gzip' }));
}

/** A few bytes at a time, cut anywhere, also inside of a character. */
function dribble(response: ServerResponse, body: Buffer): void {
  if (response.destroyed) return;
  if (body.length === 0) return void response.end();
  response.write(body.subarray(0, 7));
  setImmediate(() => dribble(response, body.subarray(7)));
}

/**
 * Owns requests to the API server: one agent whose connections are kept, credentials, rate, and the watch over silence.
 *
 *   open(request) -> rate -> credentials -> https.request -> 2xx: the body as it arrives | ApiError
 *
 * A peer that vanished is noticed by TCP's keepalive, after some 20 s; one that holds the connection and says nothing, by
 * the time without a byte.
 */
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import type { Log } from '../../config/log.js';
import { packageVersion } from '../../config/version.js';
import type { Access } from './access.js';
import { ApiError, asApiError, statusError } from './api-error.js';
import { CredentialSource, type Credentials } from './credentials.js';
import type { Timers } from './timers.js';
import { TokenBucket } from './token-bucket.js';

export interface ApiClientOptions {
  readonly access: Access;
  readonly qps: number;
  readonly burst: number;
  readonly timers: Timers;
  readonly log: Log;
}

export interface ApiRequest {
  readonly method?: 'GET' | 'POST' | 'PATCH';
  /** From the root of the API: `/api/v1/services`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** JSON, already text. */
  readonly body?: string;
  readonly signal: AbortSignal;
  /** Longest time without a byte, as it is now: a watch is quieter than the list that it may begin with. */
  readonly silenceMs: () => number;
}

/** Pieces of a body, as they arrive; ends with ApiError where the connection breaks off or falls silent. */
export type Body = AsyncGenerator<Buffer, void, undefined>;

const PROBE_AFTER_MS = 10_000;
/** Of a refusal, as much as is worth reading. */
const MAX_ERROR_BYTES = 64 << 10;

export class ApiClient {
  readonly #options: ApiClientOptions;
  readonly #bucket: TokenBucket;
  readonly #credentials: CredentialSource;
  #agent: http.Agent | undefined;
  #agentKey: string | undefined;

  constructor(options: ApiClientOptions) {
    this.#options = options;
    this.#bucket = new TokenBucket(options);
    this.#credentials = new CredentialSource(options.access, options.timers, options.log);
  }

  /** Resolves with the body of a 2xx answer, which must be read to its end or returned. Rejects with ApiError. */
  async open(request: ApiRequest): Promise<Body> {
    await this.#bucket.take(request.signal);
    const first = await unlessAborted(this.#credentials.current(), request.signal);
    try {
      return await this.#send(request, first);
    } catch (error) {
      if (asApiError(error).status !== 401) throw asApiError(error);
      this.#credentials.invalidate();
    }
    // They may have been renewed since we read them.
    const renewed = await unlessAborted(this.#credentials.current(), request.signal);
    return this.#send(request, renewed).catch((error: unknown) => {
      throw asApiError(error);
    });
  }

  /** The whole body of a small answer, for what is no list: `maxBytes` of it. */
  async text(request: ApiRequest, maxBytes: number): Promise<string> {
    return readText(await this.open(request), maxBytes);
  }

  /** Ends idle connections, and a plugin that still runs; requests end by their signals. */
  stop(): void {
    this.#credentials.stop();
    this.#agent?.destroy();
  }

  async #send(request: ApiRequest, credentials: Credentials): Promise<Body> {
    const { signal, silenceMs, method = 'GET', body } = request;
    signal.throwIfAborted();
    const silence = new Silence(this.#options.timers, silenceMs);
    const url = urlOf(this.#options.access.server, request);
    const outgoing = (url.protocol === 'https:' ? https : http).request(url, {
      method,
      agent: this.#agentFor(credentials),
      signal,
      headers: {
        ...credentials.headers,
        Accept: 'application/json',
        'Accept-Encoding': request.query?.['watch'] === undefined ? 'gzip' : 'identity',
        'User-Agent': `kproxy-us/${packageVersion()}`,
        ...(body === undefined ? {} : bodyHeaders(body, method)),
      },
    });
    silence.start((error) => outgoing.destroy(error));
    outgoing.on('socket', probe);
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        outgoing.on('response', resolve);
        // Stays for good: a late error must not be nobody's.
        outgoing.on('error', reject);
        outgoing.end(body);
      });
      response.on('error', () => undefined);
      const decoded = decode(response);
      const status = response.statusCode ?? 0;
      if (status < 200 || status > 299) throw await refusal(response, decoded, status);
      return watched(decoded, silence);
    } catch (error) {
      silence.stop();
      outgoing.destroy();
      throw error;
    }
  }

  /** Connections made with former certificates end with their requests. */
  #agentFor({ tls, tlsKey }: Credentials): http.Agent {
    if (this.#agent !== undefined && this.#agentKey === tlsKey) return this.#agent;
    for (const free of Object.values(this.#agent?.freeSockets ?? {})) for (const socket of free ?? []) socket.destroy();
    const isHttps = this.#options.access.server.protocol === 'https:';
    this.#agent = isHttps ? new https.Agent({ keepAlive: true, ...tls }) : new http.Agent({ keepAlive: true });
    this.#agentKey = tlsKey;
    return this.#agent;
  }
}

/** A plugin may take a minute: who asked does not wait for it when it is to stop. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Linux gives a peer that does not answer up after ten probes, a second apart. Node's agent does this for idle sockets alone. */
function probe(socket: Socket): void {
  const set = () => socket.setKeepAlive(true, PROBE_AFTER_MS);
  if (socket.connecting) socket.once('connect', set);
  else set();
}

/** Ends a request that is silent for too long. */
class Silence {
  readonly #timers: Timers;
  readonly #mostMs: () => number;
  #lastMs = 0;
  #cancel: () => void = () => undefined;

  constructor(timers: Timers, mostMs: () => number) {
    this.#timers = timers;
    this.#mostMs = mostMs;
  }

  start(end: (error: ApiError) => void): void {
    this.heard();
    const look = (afterMs: number) => {
      this.#cancel = this.#timers.after(afterMs, () => {
        const mostMs = this.#mostMs();
        const leftMs = this.#lastMs + mostMs - this.#timers.nowMs();
        if (leftMs > 0) look(leftMs);
        else end(new ApiError('STALLED', `no byte from the API server for ${Math.round(mostMs / 1_000)} s`));
      });
    };
    look(this.#mostMs());
  }

  heard(): void {
    this.#lastMs = this.#timers.nowMs();
  }

  stop(): void {
    this.#cancel();
  }
}

async function* watched(body: Readable, silence: Silence): Body {
  silence.heard();
  try {
    for await (const chunk of body) {
      silence.heard();
      yield chunk as Buffer;
    }
  } catch (error) {
    throw asApiError(error);
  } finally {
    silence.stop();
    body.destroy();
  }
}

function decode(response: IncomingMessage): Readable {
  if (response.headers['content-encoding'] !== 'gzip') return response;
  const gunzip = createGunzip();
  pipeline(response, gunzip).catch(() => undefined);
  return gunzip;
}

async function refusal(response: IncomingMessage, body: Readable, status: number): Promise<ApiError> {
  const text = await readText(body, MAX_ERROR_BYTES).catch(() => '');
  let json: unknown = { message: text.slice(0, 200) || `HTTP status ${status}` };
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null) json = parsed;
  } catch {
    // A proxy in between answers in its own words.
  }
  return statusError(json, status, response.headers['retry-after']);
}

async function readText(body: AsyncIterable<Buffer>, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new ApiError('BAD_ANSWER', `the answer is longer than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function urlOf(server: URL, { path, query }: ApiRequest): URL {
  const url = new URL(server);
  url.pathname = `${server.pathname.replace(/\/$/, '')}${path}`;
  for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
  return url;
}

function bodyHeaders(body: string, method: string): Record<string, string> {
  const type = method === 'PATCH' ? 'application/strategic-merge-patch+json' : 'application/json';
  return { 'Content-Type': type, 'Content-Length': `${Buffer.byteLength(body)}` };
}

/**
 * Owns one small HTTP server: GET and HEAD of fixed paths, nothing of a request in a reply, everything of it bounded.
 *
 *   request -> method, path -> Page -> Reply
 *
 * A port that cannot be bound is tried again until it can (rule C3), unless the operator wants an end instead.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostPort } from '../config/address.js';
import type { Log } from '../config/log.js';
import type { HostPort } from '../config/options.js';

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers one path; a rejection becomes a 500 without its reason. */
export type Page = () => Reply | Promise<Reply>;

export interface HttpServerOptions {
  /** For the log: `metrics`. */
  readonly name: string;
  readonly at: HostPort;
  /** By path; `*` answers every path that has no page of its own. */
  readonly pages: Readonly<Record<string, Page>>;
  /** `start` rejects where the port cannot be bound, instead of trying again. */
  readonly hardFail: boolean;
  /** Leaves IPv4 clients of `::` to another server. */
  readonly ipv6Only?: boolean;
  readonly log: Log;
  readonly retryMs?: number;
}

const RETRY_MS = 5_000;
/** Scrapers and probes are few; connections beyond this are closed at once. */
const MAX_CONNECTIONS = 128;

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #server: Server;
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#server = createServer(
      { maxHeaderSize: 8_192, headersTimeout: 5_000, requestTimeout: 10_000, keepAliveTimeout: 5_000 },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.setTimeout(30_000);
    // What is no HTTP ends without a word; without a listener Node would reply by itself.
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  /** Where it listens, or undefined while it does not. */
  get address(): HostPort | undefined {
    const address = this.#server.address();
    return isInet(address) ? { host: address.address, port: address.port } : undefined;
  }

  /** Resolves after the first try. Rejects with the errno error where `hardFail` is set and the port cannot be bound. */
  async start(): Promise<void> {
    const { name, at, hardFail, log, retryMs = RETRY_MS } = this.#options;
    try {
      await this.#listen();
      const { host, port } = this.address ?? at;
      log.info('status server listens', { server: name, address: hostPort(host, port) });
    } catch (error) {
      if (hardFail) throw error;
      log.warn('status server cannot listen, will try again', {
        key: name,
        server: name,
        address: hostPort(at.host, at.port),
        err: error,
      });
      if (!this.#stopped) this.#retry = setTimeout(() => void this.start(), retryMs);
    }
  }

  /** Resolves when the port is free and every connection has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    if (!this.#server.listening) return;
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #listen(): Promise<void> {
    const { host, port } = this.#options.at;
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => {
        this.#server.off('listening', done);
        reject(error);
      };
      const done = () => {
        this.#server.off('error', fail);
        this.#server.on('error', (err) =>
          this.#options.log.warn('status server failed', { key: this.#options.name, err }),
        );
        resolve();
      };
      this.#server.once('error', fail).once('listening', done);
      this.#server.listen({ host, port, ipv6Only: this.#options.ipv6Only ?? false });
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined);
    // A body is neither wanted nor read: the connection does not outlive the reply.
    if (hasBody(request)) response.shouldKeepAlive = false;
    const { status, contentType, body, headers } = await this.#replyTo(request);
    response.writeHead(status, {
      'Content-Type': contentType,
      'Content-Length': Buffer.byteLength(body),
      'X-Content-Type-Options': 'nosniff',
      'Cache-Control': 'no-store',
      ...headers,
      ...(status === 405 ? { Allow: 'GET, HEAD' } : {}),
    });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  async #replyTo({ method, url = '' }: IncomingMessage): Promise<Reply> {
    const [path = ''] = url.split('?', 1);
    const { pages } = this.#options;
    const page = Object.hasOwn(pages, path) ? pages[path] : pages['*'];
    if (page === undefined) return text(404, 'not found\n');
    if (method !== 'GET' && method !== 'HEAD') return text(405, 'only GET and HEAD\n');
    try {
      return await page();
    } catch (err) {
      this.#options.log.error('status page failed', { key: path, page: path, err });
      return text(500, 'failed; the log says why\n');
    }
  }
}

export function text(status: number, body: string): Reply {
  return { status, contentType: 'text/plain; charset=utf-8', body };
}

export function json(status: number, body: string): Reply {
  return { status, contentType: 'application/json', body };
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}

function isInet(address: AddressInfo | string | null): address is AddressInfo {
  return address !== null && typeof address !== 'string';
}

/**
 * Owns a scripted API server: real HTTPS on loopback, lists and watches of a small history, and faults on demand.
 *
 *   client -> HTTPS -> credentials -> fault? -> list | watch (plain, or streaming) | create
 *   spec   -> server.history.put, server.fail, server.watches, server.down
 *
 * For specs and benchmarks: it answers with 5,000 Services without delay.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { answer, refuse, status, tooLarge } from './answers.js';
import { type Certificates, certificates } from './certificates.js';
import { History, type HistoryChange, type KubeJson, TYPES, type TypeName } from './history.js';
import { selects } from './selectors.js';
import { WatchStream } from './watch-stream.js';

export interface ApiServerOptions {
  readonly history?: History;
  readonly certificates?: Certificates;
  /** Bearer tokens that are accepted; undefined: anybody is. A client certificate of the authority is accepted beside them. */
  readonly tokens?: readonly string[];
  /** Knows `sendInitialEvents` (feature WatchList). */
  readonly streams?: boolean;
  /** Resources that are not served. */
  readonly without?: readonly TypeName[];
  readonly port?: number;
}

export interface SeenRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingMessage['headers'];
  /** Which TCP connection it came by. */
  readonly connection: number;
  readonly body: string;
}

/** What a fault does in the place of an answer. */
export type FaultAction =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: unknown }
  /** The connection is reset; nothing is ever answered; the answer comes in small pieces; it breaks off half way. */
  | 'reset'
  | 'hang'
  | 'slow'
  | 'cut';

export interface Fault {
  /** Which requests; undefined: all. */
  readonly when?: (request: SeenRequest) => boolean;
  readonly action: FaultAction;
  /** How often; undefined: once. */
  readonly times?: number;
}

export class ApiServer {
  readonly requests: SeenRequest[] = [];
  /** Objects that clients made, such as Events. */
  readonly created: { readonly path: string; readonly object: unknown }[] = [];
  readonly #certificates: Certificates;
  #history: History;
  #unsubscribe: () => void = () => undefined;
  #server: Server | undefined;
  readonly #sockets = new Map<Socket, number>();
  readonly #snapshots = new Map<string, readonly KubeJson[]>();
  #connections = 0;
  #port: number;
  #faults: { fault: Fault; left: number }[] = [];
  #watches: WatchStream[] = [];
  tokens: readonly string[] | undefined;
  streams: boolean;
  without: readonly TypeName[];
  /** Gives lists at version 0 whole, whatever the limit, as a server with a cache does. */
  isCached = false;
  /** Streams never say that their initial events are all. */
  withholdsEnd = false;

  private constructor(options: ApiServerOptions, made: Certificates) {
    this.#certificates = made;
    this.#port = options.port ?? 0;
    this.tokens = options.tokens;
    this.streams = options.streams ?? true;
    this.without = options.without ?? [];
    this.#history = options.history ?? new History();
  }

  /** Listens on loopback; the caller closes it. */
  static async start(options: ApiServerOptions = {}): Promise<ApiServer> {
    const server = new ApiServer(options, options.certificates ?? (await certificates()));
    server.history = server.#history;
    await server.up();
    return server;
  }

  get ca(): string {
    return this.#certificates.ca;
  }

  get client(): Certificates['client'] {
    return this.#certificates.client;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  get history(): History {
    return this.#history;
  }

  /** What it knows from now on; open watches go on with the changes of this one. */
  set history(history: History) {
    this.#unsubscribe();
    this.#snapshots.clear();
    this.#history = history;
    this.#unsubscribe = history.subscribe((change) => this.#fanOut(change));
  }

  /** Watches open now, the oldest first. */
  watches(type: TypeName): readonly WatchStream[] {
    this.#watches = this.#watches.filter((watch) => watch.isOpen);
    return this.#watches.filter((watch) => watch.type === type);
  }

  /** Lists and watches of a resource, as the client asked for them. */
  asked(type: TypeName, verb: 'list' | 'watch'): readonly URLSearchParams[] {
    const { path } = TYPES[type];
    return this.requests
      .filter(({ url }) => url.pathname === path && (url.searchParams.get('watch') === 'true') === (verb === 'watch'))
      .map(({ url }) => url.searchParams);
  }

  /** How many TCP connections there are. */
  get open(): number {
    return this.#sockets.size;
  }

  /** How many TCP connections there ever were. */
  get connections(): number {
    return this.#connections;
  }

  fail(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times ?? 1 });
  }

  heal(): void {
    this.#faults = [];
  }

  /** Listens again, on the same port. */
  async up(): Promise<void> {
    const { cert, key } = this.#certificates.server;
    const server = createServer(
      { cert, key, ca: this.#certificates.ca, requestCert: true, rejectUnauthorized: false },
      (request, response) => {
        this.#serve(request, response).catch(() => response.destroy());
      },
    );
    server.on('connection', (socket: Socket) => {
      this.#sockets.set(socket, this.#connections++);
      socket.on('close', () => this.#sockets.delete(socket)).on('error', () => undefined);
    });
    server.on('tlsClientError', () => undefined);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Refuses connections and drops those there are, as a server that died. */
  async down(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets.keys()) socket.destroy();
    server.closeAllConnections();
    await closed;
    this.#watches = [];
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    await this.down();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen = await this.#see(request);
    const fault = this.#takeFault(seen);
    if (fault === 'hang') return;
    if (fault === 'reset') return void request.socket.destroy();
    if (typeof fault === 'object') return void refuse(response, fault.status, fault.body, fault.headers);
    if (!this.#isKnown(request)) return void refuse(response, 401, status(401, 'Unauthorized', 'Unauthorized'));
    if (seen.method !== 'GET') return this.#create(seen, response);
    const type = typeOf(seen.url.pathname);
    if (type === undefined || this.without.includes(type)) {
      return void refuse(response, 404, status(404, 'NotFound', 'the server could not find the requested resource'));
    }
    if (seen.url.searchParams.get('watch') === 'true') return this.#watch(type, seen.url.searchParams, response);
    return this.#list(type, seen, response, fault);
  }

  async #see(request: IncomingMessage): Promise<SeenRequest> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = '', headers } = request;
    // Of a TLS socket the one below it is what connected.
    const socket = [...this.#sockets].find(([one]) => one.remotePort === request.socket.remotePort);
    const url = new URL(request.url ?? '/', this.url);
    const seen = { method, url, headers, connection: socket?.[1] ?? -1, body: Buffer.concat(chunks).toString() };
    this.requests.push(seen);
    return seen;
  }

  #takeFault(seen: SeenRequest): FaultAction | undefined {
    const found = this.#faults.find(({ fault, left }) => left > 0 && (fault.when?.(seen) ?? true));
    if (found === undefined) return undefined;
    found.left--;
    return found.fault.action;
  }

  #isKnown(request: IncomingMessage): boolean {
    if (this.tokens === undefined) return true;
    const socket = request.socket as TLSSocket;
    // A resumed session counts as authorized, certificate or not.
    if (socket.authorized && socket.getPeerCertificate().subject !== undefined) return true;
    const [scheme, token = ''] = (request.headers.authorization ?? '').split(' ');
    return scheme === 'Bearer' && this.tokens.includes(token);
  }

  #create({ url, body }: SeenRequest, response: ServerResponse): void {
    const object: unknown = JSON.parse(body);
    this.created.push({ path: url.pathname, object });
    response.writeHead(201, { 'Content-Type': 'application/json' }).end(JSON.stringify(object));
  }

  #list(type: TypeName, { url, headers }: SeenRequest, response: ServerResponse, fault: FaultAction | undefined): void {
    const query = url.searchParams;
    const asked = Number(query.get('resourceVersion') ?? 0);
    if (asked > this.#history.version) return void refuse(response, 504, tooLarge(asked, this.#history.version));
    const [version = this.#history.version, from = 0] = (query.get('continue') ?? '')
      .split(':')
      .filter(Boolean)
      .map(Number);
    if (version < this.#history.oldest) {
      return void refuse(response, 410, status(410, 'Expired', 'The provided continue parameter is too old'));
    }
    const all = this.#snapshot(type, version).filter((object) => selects(query, object));
    const isWhole = this.isCached && query.get('resourceVersion') === '0';
    const limit = isWhole ? 0 : Number(query.get('limit') ?? 0);
    const page = limit > 0 ? all.slice(from, from + limit) : all.slice(from);
    const next = limit > 0 && from + limit < all.length ? { continue: `${version}:${from + limit}` } : {};
    const { apiVersion, kind } = TYPES[type];
    const items = page.map(({ apiVersion: _apiVersion, kind: _kind, ...object }) => object);
    const list = { kind: `${kind}List`, apiVersion, metadata: { resourceVersion: `${version}`, ...next }, items };
    answer(response, JSON.stringify(list), headers['accept-encoding'] === 'gzip', fault);
  }

  /** Pages of one list show one moment. */
  #snapshot(type: TypeName, version: number): readonly KubeJson[] {
    if (version === this.#history.version) this.#snapshots.set(`${type} ${version}`, this.#history.all(type));
    if (this.#snapshots.size > 20) this.#snapshots.delete([...this.#snapshots.keys()][0] ?? '');
    return this.#snapshots.get(`${type} ${version}`) ?? [];
  }

  #watch(type: TypeName, query: URLSearchParams, response: ServerResponse): void {
    const history = this.#history;
    const isStream = query.get('sendInitialEvents') === 'true';
    if (isStream && !this.streams) {
      const message = 'sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled';
      return void refuse(response, 422, status(422, 'Invalid', message));
    }
    const version = Number(query.get('resourceVersion') ?? 0);
    if (isStream && version > history.version) return void refuse(response, 504, tooLarge(version, history.version));
    response.writeHead(200, { 'Content-Type': 'application/json' }).flushHeaders();
    const watch = new WatchStream(type, query, response);
    this.#watches.push(watch);
    response.on('error', () => undefined);
    const seconds = Number(query.get('timeoutSeconds') ?? 3_600);
    const timer = setTimeout(() => watch.end(), seconds * 1_000).unref();
    response.on('close', () => clearTimeout(timer));
    if (isStream) {
      for (const object of history.all(type)) if (selects(query, object)) watch.added(object);
      if (!this.withholdsEnd) watch.bookmark(history.version, true);
    } else if (version < history.oldest) watch.gone();
    else for (const change of history.since(type, version)) watch.change(change);
  }

  /** A watch from a version of the future gets only what comes after that, as from a real server. */
  #fanOut(change: HistoryChange): void {
    for (const watch of this.watches(change.type)) {
      const isStream = watch.query.get('sendInitialEvents') === 'true';
      if (isStream || change.version > Number(watch.query.get('resourceVersion'))) watch.change(change);
    }
  }
}

function typeOf(path: string): TypeName | undefined {
  return (Object.keys(TYPES) as TypeName[]).find((type) => TYPES[type].path === path);
}

export { status };

/** A kubeconfig for `server`; `user` as in the file. */
export function kubeconfig(server: ApiServer, user: object = {}, cluster: object = {}): string {
  const ca = Buffer.from(server.ca).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'spec',
    clusters: [{ name: 'spec', cluster: { server: server.url, 'certificate-authority-data': ca, ...cluster } }],
    users: [{ name: 'kproxy', user }],
    contexts: [{ name: 'spec', context: { cluster: 'spec', user: 'kproxy' } }],
  });
}

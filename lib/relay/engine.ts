/**
 * Owns the conversation between the control plane and the data plane: what an engine does, in plain values that can be
 * posted to a relay thread. Both engines obey it and pass `spec/relay`.
 *
 *   reconciler -> open, update, close -> Engine -> accept -> pick -> dial -> relay -> record
 *   status     <- stats               <-
 */
import type { Ip } from '../config/address.js';
import type { Backend, Backends } from '../model/backend.js';
import type { ServicePortName } from '../model/service-port.js';

export type { Backend, Backends };

/** Names one listener in every call; unique in the process. */
export type ListenerKey = string;

/** A socket of ours, with one set of backends. */
export interface ListenerSpec {
  readonly key: ListenerKey;
  readonly servicePort: ServicePortName;
  /** An address of this node, or `0.0.0.0`, or `::` (then IPv6 only: an IPv4 listener may hold the same port). */
  readonly host: Ip;
  /** 0 lets the kernel choose. */
  readonly port: number;
  /**
   * ClientIP affinity: milliseconds since last use, undefined without. Listeners of one Service port share one table
   * (rule B2): it lives in the engine as long as any listener of that Service port is open.
   */
  readonly affinityTimeoutMs: number | undefined;
}

/**
 * A listener without backends is open but does not listen, so that clients are refused by the kernel (rule E5). It keeps its
 * turn, its affinity and its established connections, and listens again at the next `update` that brings a backend.
 */
export interface Engine {
  /**
   * Opens a listener. Resolves when it accepts (or, without backends, when it is registered).
   * Rejects with `ListenError`; the listener is then unknown to the engine.
   */
  open(listener: ListenerSpec, backends: Backends): Promise<Bound>;

  /**
   * Swaps the backends whole. Established connections to those that left go on (rule T10), UDP flows end at once (rule U5).
   * Rejects with `ListenError` where it has to listen again and cannot: then it stays open without listening, and the next
   * `update` tries again.
   */
  update(key: ListenerKey, backends: Backends): Promise<Bound>;

  /** A change of the affinity timeout alone; takes effect at the next pick. */
  setAffinity(key: ListenerKey, affinityTimeoutMs: number | undefined): Promise<void>;

  /**
   * Stops accepting and ends UDP flows at once; resolves then. Established connections have `drainMs` to end by themselves
   * (rule T11), after that they are reset. An unknown key is no error.
   */
  close(key: ListenerKey, drainMs: number): Promise<void>;

  stats(): Promise<EngineStats>;

  /** Closes every listener as `close` does; resolves when the last connection has ended. */
  stop(drainMs: number): Promise<void>;
}

export interface Bound {
  /** The port in use; 0 while a listener of port 0 has never listened. */
  readonly port: number;
}

/** Bounds and times that hold for every listener of an engine. All times in milliseconds; 0 means no bound unless said. */
export interface EngineOptions {
  /** One dial attempt (rule T2). Never 0. */
  readonly dialTimeoutMs: number;
  /** Different backends tried for one client (rule T2). At least 1. */
  readonly dialAttempts: number;
  /** A half-closed connection whose other side is silent ends after this time (rule T4). */
  readonly halfCloseTimeoutMs: number;
  /** A connection without a byte in either direction ends after this time (rule T6). */
  readonly tcpIdleTimeoutMs: number;
  /** A UDP flow that has had no reply yet ends after this idle time (rule U3). Never 0. */
  readonly udpUnrepliedTimeoutMs: number;
  /** A UDP flow that has had a reply ends after this idle time in both directions (rule U3). Never 0. */
  readonly udpTimeoutMs: number;
  /** UDP flows of one listener; the longest idle one makes room (rule U6). At least 1. */
  readonly maxUdpFlows: number;
  /** Established TCP connections of the engine, and of one listener (rule T9). */
  readonly maxConnections: number;
  readonly maxConnectionsPerListener: number;
  /** Clients remembered for one Service port (rule B2); the longest unused one makes room. At least 1. */
  readonly maxAffinityClients: number;
  /** Collect calls in an io_uring where the engine and the kernel can (io_uring(7)). */
  readonly ioUring: boolean;
  /** Report a `ConnectionRecord` for every connection (rule H5). */
  readonly records: boolean;
}

export const defaultEngineOptions: EngineOptions = {
  dialTimeoutMs: 1_000,
  dialAttempts: 4,
  halfCloseTimeoutMs: 3_600_000,
  tcpIdleTimeoutMs: 0,
  udpUnrepliedTimeoutMs: 10_000,
  udpTimeoutMs: 60_000,
  maxUdpFlows: 4_096,
  maxConnections: 0,
  maxConnectionsPerListener: 0,
  maxAffinityClients: 65_536,
  ioUring: true,
  records: false,
};

/** Why a connection ended. The list is documented in docs/connections.md. */
export type Outcome =
  /** Both sides sent FIN. */
  | 'closed'
  /** The client sent RST, or its socket failed. */
  | 'client-reset'
  /** The backend sent RST, or its socket failed. */
  | 'backend-reset'
  /** No backend could be dialled; the client was reset (rule T3). */
  | 'dial-failed'
  /** The client went away before a backend was reached. */
  | 'client-aborted'
  /** Beyond `maxConnections`; the client was reset (rule T9). */
  | 'refused'
  /** `halfCloseTimeoutMs`. */
  | 'half-close-timeout'
  /** `tcpIdleTimeoutMs`. */
  | 'idle-timeout'
  /** Reset after the drain time of a listener that went, or of the process. */
  | 'drained';

export const OUTCOMES: readonly Outcome[] = [
  'closed',
  'client-reset',
  'backend-reset',
  'dial-failed',
  'client-aborted',
  'refused',
  'half-close-timeout',
  'idle-timeout',
  'drained',
];

/** Plain numbers since the listener opened. `Up` is client to backend, `Down` backend to client. */
export interface ListenerStats {
  readonly key: ListenerKey;
  readonly servicePort: ServicePortName;
  /** Accepts or receives now. */
  readonly listening: boolean;
  readonly port: number;
  /** TCP connections or UDP flows that are open now. */
  readonly active: number;
  /** TCP connections accepted, or UDP flows begun. */
  readonly total: number;
  /** Ended TCP connections by outcome; absent means 0. */
  readonly outcomes: Readonly<Partial<Record<Outcome, number>>>;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** UDP only. */
  readonly datagramsUp: number;
  readonly datagramsDown: number;
  /** UDP: datagrams that could not be relayed: no backend, a full queue, an error of the socket. */
  readonly datagramsDropped: number;
  /** Dial attempts that failed. */
  readonly dialFailures: number;
  /** Dial attempts beyond the first of a connection, or a flow moved to another backend (rule U4). */
  readonly dialRetries: number;
  /** Backends taken out for a time (rule B3). */
  readonly ejections: number;
}

export interface EngineStats {
  /** `portable` or `native`. */
  readonly engine: string;
  readonly listeners: readonly ListenerStats[];
  /** Connections of closed listeners that still drain. */
  readonly draining: number;
  /** Times that accepting stopped for want of descriptors (rule T8). */
  readonly acceptPauses: number;
}

/** One ended connection (rule H5). */
export interface ConnectionRecord {
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly durationMs: number;
  readonly servicePort: ServicePortName;
  /** `address:port` of the client, of our listener, and of the backend ('' where none was reached). */
  readonly client: string;
  readonly listener: string;
  readonly backend: string;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Dial attempts made. */
  readonly attempts: number;
  readonly outcome: Outcome;
}

/** What an engine is given to speak to the outside. Neither callback may throw. */
export interface EngineEvents {
  /** A fact worth a log line: a failed dial, a paused accept. Flood control is the receiver's. */
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>) => void;
  readonly record: (record: ConnectionRecord) => void;
}

/** A listener could not be opened. `code` is the errno name (`EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`), or `EINVAL`. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

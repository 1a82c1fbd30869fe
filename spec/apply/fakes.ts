/** Owns an engine and a redirector that write down what they are told, in one list, and fail when asked to. */
import { packBackends, unpackBackends } from '../../lib/model/backend.js';
import { type FrontendKey, frontendKey } from '../../lib/model/frontend.js';
import type { Redirect, RedirectChanges, Redirector } from '../../lib/redirect/redirector.js';
import {
  type Backends,
  type Bound,
  type Engine,
  type EngineStats,
  ListenError,
  type ListenerSpec,
} from '../../lib/relay/engine.js';

/** What happened, in order: `open <key> [hosts]`, `update`, `close`, `set <frontend> -> <port|reject>`, `remove <frontend>`. */
export class Journal {
  readonly lines: string[] = [];

  add(line: string): void {
    this.lines.push(line);
  }

  /** The lines since the last call. */
  take(): readonly string[] {
    return this.lines.splice(0);
  }
}

export class FakeEngine implements Engine {
  readonly open_ = new Map<string, ListenerSpec>();
  /** Ports that somebody else has. */
  readonly busyPorts = new Set<number>();
  readonly #listening = new Set<string>();

  constructor(readonly journal: Journal) {}

  async open(listener: ListenerSpec, backends: Backends): Promise<Bound> {
    if (this.open_.has(listener.key)) throw new Error(`opened twice: ${listener.key}`);
    const inUse = [...this.open_.values()].some(
      (one) =>
        one.port === listener.port &&
        one.host === listener.host &&
        one.servicePort.protocol === listener.servicePort.protocol,
    );
    if (inUse || this.busyPorts.has(listener.port))
      throw new ListenError('EADDRINUSE', `port ${listener.port} is in use`);
    this.open_.set(listener.key, listener);
    if (backends.length > 0) this.#listening.add(listener.key);
    this.journal.add(`open ${listener.key} ${hosts(backends)}`);
    return { port: listener.port };
  }

  async update(key: string, backends: Backends): Promise<Bound> {
    const port = this.open_.get(key)?.port;
    if (port === undefined) throw new Error(`not open: ${key}`);
    if (backends.length === 0) this.#listening.delete(key);
    else if (!this.#listening.has(key) && this.busyPorts.has(port)) {
      throw new ListenError('EADDRINUSE', `port ${port} is in use`);
    } else this.#listening.add(key);
    this.journal.add(`update ${key} ${hosts(backends)}`);
    return { port };
  }

  async setAffinity(key: string, affinityTimeoutMs: number | undefined): Promise<void> {
    this.journal.add(`affinity ${key} ${affinityTimeoutMs}`);
  }

  async close(key: string): Promise<void> {
    this.#listening.delete(key);
    if (this.open_.delete(key)) this.journal.add(`close ${key}`);
  }

  async stats(): Promise<EngineStats> {
    return { engine: 'fake', listeners: [], draining: 0, acceptPauses: 0 };
  }

  async stop(): Promise<void> {
    this.open_.clear();
  }
}

export class FakeRedirector implements Redirector {
  readonly mode = 'iptables';
  readonly rules = new Map<FrontendKey, string>();
  /** The same, whole. */
  readonly redirects = new Map<FrontendKey, Redirect>();
  /** The next calls of `apply` that fail. */
  failures = 0;
  readonly #pending = new Map<FrontendKey, Redirect | undefined>();

  constructor(readonly journal: Journal) {}

  serves(): boolean {
    return true;
  }

  async start(): Promise<void> {}

  async apply(changes: RedirectChanges): Promise<void> {
    for (const one of changes.set) this.#pending.set(frontendKey(one.frontend), one);
    for (const key of changes.remove) this.#pending.set(key, undefined);
    if (this.#pending.size === 0) return;
    if (this.failures > 0) {
      this.failures--;
      throw new Error('iptables-restore is out of order');
    }
    for (const [key, one] of this.#pending) {
      if (one === undefined) this.redirects.delete(key);
      else this.redirects.set(key, one);
      if (one === undefined) this.rules.delete(key);
      else this.rules.set(key, one.action.kind === 'listener' ? String(one.action.port) : one.action.kind);
      this.journal.add(one === undefined ? `remove ${key}` : `set ${key} -> ${this.rules.get(key)}`);
    }
    this.#pending.clear();
  }

  async setInsideCidrs(): Promise<void> {}

  async existing(): Promise<readonly Redirect[]> {
    return [];
  }

  async repair(): Promise<string | undefined> {
    return undefined;
  }

  async cleanup(): Promise<void> {}
}

function hosts(backends: Backends): string {
  return `[${unpackBackends(packBackends(backends))
    .map(({ host }) => host)
    .join(' ')}]`;
}

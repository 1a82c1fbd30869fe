/**
 * Owns the listeners that the engine has for us: where each is bound, which could not be, and when those are tried again.
 *
 *   Changes -> vacate -> grow -> (redirects) -> shrink -> Engine
 *
 * A listener that cannot be opened is a fault, not a failure of the sync: the others go on (rule C3).
 */
import { hostPort, type Ip } from '../config/address.js';
import type { Log } from '../config/log.js';
import type { Clock } from '../model/clock.js';
import type { ObjectKey } from '../model/objects.js';
import { type ServicePortKey, serviceKeyOf, servicePortKey } from '../model/service-port.js';
import type { ListenerUpdate } from '../plan/diff.js';
import type { PlannedListener } from '../plan/service-plan.js';
import { type Engine, ListenError } from '../relay/engine.js';
import type { RedirectPorts } from './redirect-ports.js';
import type { ListenerFault } from './sync-status.js';

export interface ListenerSetOptions {
  readonly engine: Engine;
  readonly ports: RedirectPorts;
  readonly drainMs: number;
  /** Told of every try that fails. */
  readonly onFault?: (service: ObjectKey, fault: ListenerFault) => void;
  readonly clock: Clock;
  readonly log: Log;
}

interface State {
  planned: PlannedListener;
  /** The engine knows it. */
  open: boolean;
  /** 0 where none is assigned. */
  port: number;
  fault: ListenerFault | undefined;
  failures: number;
  retryAtMs: number;
}

const RETRY_BASE_MS = 1_000;
const RETRY_MAX_MS = 30_000;
/** Redirect ports found in use by somebody else before a listener is left for the next try. */
const MAX_PORTS_TRIED = 64;

export class ListenerSet {
  readonly #options: ListenerSetOptions;
  readonly #states = new Map<string, State>();
  /** Keys of the listeners that have a fault. */
  readonly #faulty = new Set<string>();
  /** Redirect ports kept for listeners that are yet to be opened. */
  readonly #reserved = new Map<string, number>();

  constructor(options: ListenerSetOptions) {
    this.#options = options;
  }

  get faults(): readonly ListenerFault[] {
    return [...this.#faulty].flatMap((key) => this.#states.get(key)?.fault ?? []);
  }

  /** Where a listener accepts, or undefined while it does not. */
  placeOf(key: string): { readonly host: Ip; readonly port: number } | undefined {
    const state = this.#states.get(key);
    if (state === undefined || !state.open || state.fault !== undefined) return undefined;
    return { host: state.planned.at.host, port: state.port };
  }

  /** What a listener was last asked to be. */
  plannedOf(key: string): PlannedListener | undefined {
    return this.#states.get(key)?.planned;
  }

  /** Keeps a redirect port for a listener that is opened next: one that rules of an earlier process lead to (rule Y7). */
  reserve(planned: PlannedListener, port: number): void {
    if (this.#states.has(planned.key) || this.#reserved.has(planned.key)) return;
    if (this.#options.ports.takeExactly(spaceOf(planned), port)) this.#reserved.set(planned.key, port);
  }

  /** Closes, before anything is opened, what holds an address that is about to be opened under another key. */
  async vacate(closing: readonly string[], opening: readonly PlannedListener[]): Promise<void> {
    const wanted = new Map(opening.map((listener) => [addressOf(listener), listener.key]));
    const known = closing.flatMap((key) => this.#states.get(key)?.planned ?? []);
    const inTheWay = known.filter((listener) => {
      const successor = wanted.get(addressOf(listener));
      return listener.at.kind === 'nodePort' && successor !== undefined && successor !== listener.key;
    });
    await Promise.all(inTheWay.map(({ key }) => this.#close(key)));
  }

  /**
   * Opens listeners and gives backends to those that keep or get some. Doing it again does no harm: one that is open already
   * (a sync failed) and is to have no backends is left to `shrink`, since a redirect may lead to it.
   */
  async grow(opening: readonly PlannedListener[], updates: readonly ListenerUpdate[]): Promise<void> {
    const growing = updates.filter(({ after }) => after.backends !== '');
    const fresh = opening.filter(({ key, backends }) => backends !== '' || !this.#states.has(key));
    await Promise.all([
      ...fresh.map((planned) => this.#update(planned)),
      ...growing.map(({ after }) => this.#update(after)),
    ]);
  }

  /** Takes the last backends from listeners and closes others; to be called when no redirect leads to them any more. */
  async shrink(closing: readonly string[], updates: readonly PlannedListener[]): Promise<void> {
    await Promise.all([...closing.map((key) => this.#close(key)), ...updates.map((after) => this.#update(after))]);
  }

  /** Tries those again whose time has come; returns the Services whose listeners came to life by it. */
  async retry(): Promise<ReadonlySet<string>> {
    const now = this.#options.clock.nowMs();
    const due = [...this.#faulty].flatMap((key) => this.#states.get(key) ?? []).filter((one) => one.retryAtMs <= now);
    await Promise.all(due.map((state) => (state.open ? this.#update(state.planned) : this.#open(state))));
    const alive = due.filter((state) => state.fault === undefined);
    return new Set(alive.map((state) => serviceKeyOf(state.planned.servicePort)));
  }

  /** Time until the next `retry` has something to do, or undefined. */
  nextRetryMs(): number | undefined {
    const times = [...this.#faulty].flatMap((key) => this.#states.get(key)?.retryAtMs ?? []);
    if (times.length === 0) return undefined;
    return Math.max(0, times.reduce((a, b) => Math.min(a, b)) - this.#options.clock.nowMs());
  }

  #stateFor(planned: PlannedListener): State {
    const state: State = { planned, open: false, port: 0, fault: undefined, failures: 0, retryAtMs: 0 };
    this.#states.set(planned.key, state);
    return state;
  }

  async #open(state: State): Promise<void> {
    const { at } = state.planned;
    const error = at.kind === 'nodePort' ? await this.#tryOpen(state, at.port) : await this.#openOnFreePort(state);
    if (error === undefined) this.#succeeded(state);
    else this.#failed(state, error);
  }

  async #openOnFreePort(state: State): Promise<ListenError | undefined> {
    const space = spaceOf(state.planned);
    let error = new ListenError('ENOPORT', 'no free port is left in --proxy-port-range');
    let after = 0;
    const reserved = this.#reserved.get(state.planned.key);
    this.#reserved.delete(state.planned.key);
    for (let tries = 0; tries < MAX_PORTS_TRIED; tries++) {
      const port = tries === 0 && reserved !== undefined ? reserved : this.#options.ports.take(space, after);
      if (port === undefined) return error;
      const failure = await this.#tryOpen(state, port);
      if (failure === undefined) return undefined;
      this.#options.ports.release(space, port);
      if (failure.code !== 'EADDRINUSE') return failure;
      error = failure;
      // The reserved port need not be the lowest: the search begins anew below it, and passes it by the second time.
      if (tries > 0 || reserved === undefined) after = port;
    }
    return error;
  }

  async #tryOpen(state: State, port: number): Promise<ListenError | undefined> {
    const { key, servicePort, at, affinityTimeoutMs, backends } = state.planned;
    try {
      await this.#options.engine.open({ key, servicePort, host: at.host, port, affinityTimeoutMs }, backends);
    } catch (error) {
      if (error instanceof ListenError) return error;
      throw error;
    }
    state.open = true;
    state.port = port;
    return undefined;
  }

  async #update(after: PlannedListener): Promise<void> {
    const state = this.#states.get(after.key) ?? this.#stateFor(after);
    const before = state.planned;
    state.planned = after;
    if (!state.open) return this.#open(state);
    try {
      if (before.affinityTimeoutMs !== after.affinityTimeoutMs) {
        await this.#options.engine.setAffinity(after.key, after.affinityTimeoutMs);
      }
      await this.#options.engine.update(after.key, after.backends);
      this.#succeeded(state);
    } catch (error) {
      if (!(error instanceof ListenError)) throw error;
      if (error.code === 'EADDRINUSE' && after.at.kind === 'redirect') await this.#move(state);
      else this.#failed(state, error);
    }
  }

  /** Somebody took the redirect port while there were no backends to listen for: any other port will do. */
  async #move(state: State): Promise<void> {
    await this.#options.engine.close(state.planned.key, this.#options.drainMs);
    this.#options.ports.release(spaceOf(state.planned), state.port);
    state.open = false;
    state.port = 0;
    await this.#open(state);
  }

  async #close(key: string): Promise<void> {
    const state = this.#states.get(key);
    if (state === undefined) return;
    this.#states.delete(key);
    this.#faulty.delete(key);
    if (state.open) await this.#options.engine.close(key, this.#options.drainMs);
    if (state.planned.at.kind === 'redirect') this.#options.ports.release(spaceOf(state.planned), state.port);
  }

  #succeeded(state: State): void {
    if (state.fault !== undefined) {
      this.#options.log.info('listener opened after all', { servicePort: ownerOf(state), listener: place(state) });
    }
    state.fault = undefined;
    state.failures = 0;
    this.#faulty.delete(state.planned.key);
  }

  #failed(state: State, { code, message }: ListenError): void {
    const pauseMs = Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** Math.min(state.failures, 10));
    state.failures++;
    state.retryAtMs = this.#options.clock.nowMs() + pauseMs;
    state.fault = { servicePort: ownerOf(state), listener: place(state), code, message };
    this.#faulty.add(state.planned.key);
    this.#options.log.warn('cannot listen, will try again', {
      key: state.planned.key,
      ...state.fault,
      retryInMs: pauseMs,
    });
    this.#options.onFault?.(serviceKeyOf(state.planned.servicePort), state.fault);
  }
}

function ownerOf(state: State): ServicePortKey {
  return servicePortKey(state.planned.servicePort);
}

function place(state: State): string {
  const { at } = state.planned;
  return at.kind === 'nodePort' ? hostPort(at.host, at.port) : `${at.host} (redirect port)`;
}

function addressOf(planned: PlannedListener): string {
  const { at } = planned;
  return at.kind === 'nodePort' ? `${hostPort(at.host, at.port)}/${planned.servicePort.protocol}` : planned.key;
}

function spaceOf(planned: PlannedListener): string {
  return `${planned.family}/${planned.servicePort.protocol}`;
}

/**
 * Owns the way from dirty Services to what the engine and the kernel have: plan, diff, apply in the safe order (rule R2).
 *
 *   ObjectStore -> dirty -> SyncRunner -> plan + diff -> vacate, grow -> Redirector.apply -> shrink -> SyncStatus
 *
 * Only dirty Services are planned: a sync costs what changed, however many Services there are.
 */
import type { Log } from '../config/log.js';
import type { Clock } from '../model/clock.js';
import { type FrontendKey, frontendKey } from '../model/frontend.js';
import type { ObjectKey } from '../model/objects.js';
import type { Destination, PlannedListener, PlannedRedirect, ServicePlan, View } from '../plan/service-plan.js';
import type { Redirect, RedirectAction, Redirector } from '../redirect/redirector.js';
import type { ChangeKind, ObjectStore } from '../source/store.js';
import { type Dirty, DirtyServices } from './dirty-services.js';
import type { ListenerSet } from './listener-set.js';
import { Planner, type Step } from './planner.js';
import { SyncReport } from './sync-report.js';
import { SyncRunner } from './sync-runner.js';
import type { SyncStatus } from './sync-status.js';

export interface ReconcilerOptions {
  readonly store: ObjectStore;
  readonly listeners: ListenerSet;
  readonly redirector: Redirector;
  /** Read anew in every sync; `holderOf` is the planner's own. */
  readonly view: () => Omit<View, 'holderOf'>;
  readonly minSyncPeriodMs: number;
  /** Redirect ports that rules of an earlier process lead to, by frontend (rule Y7). */
  readonly formerPorts?: ReadonlyMap<FrontendKey, FormerPorts>;
  /** Told of the plan of every Service that a sync has applied; `emptyPlan` for one that went. */
  readonly onApplied?: (service: ObjectKey, plan: ServicePlan) => void;
  /** Told once of every part of a Service that is not served, and why. */
  readonly onNote?: (service: ObjectKey, note: string) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** Where a frontend led: all clients, and those inside where it was elsewhere (rule E7). */
export interface FormerPorts {
  readonly port: number | undefined;
  readonly insidePort: number | undefined;
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #runner: SyncRunner;
  readonly #dirty = new DirtyServices();
  readonly #planner: Planner;
  /** Listeners that lose their backends, or go, as soon as no redirect leads to them any more. */
  readonly #toEmpty = new Map<string, PlannedListener>();
  readonly #toClose = new Set<string>();
  /** Services whose redirects may lead to listeners again that could not be opened before. */
  readonly #revived = new Set<ObjectKey>();
  readonly #report: SyncReport;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#planner = new Planner(options);
    this.#report = new SyncReport(this.#dirty, options.listeners);
    this.#runner = new SyncRunner({
      minPeriodMs: options.minSyncPeriodMs,
      retryBaseMs: 1_000,
      retryMaxMs: 30_000,
      clock: options.clock,
      run: () => this.#sync(),
      onFailure: (error, retryInMs) => options.log.error('sync failed, will try again', { err: error, retryInMs }),
    });
  }

  get status(): SyncStatus {
    return this.#report;
  }

  /** What clients dial to reach a listener; a node port has none. */
  frontendsOf(listener: PlannedListener): readonly FrontendKey[] {
    return this.#planner.frontendsOf(listener);
  }

  /** Frontends that would lead to a listener if it had backends. */
  rejectedOf(listener: PlannedListener): readonly FrontendKey[] {
    return this.#planner.rejectedOf(listener);
  }

  /** Follows the store; nothing is applied before it is synced (rule Y1). */
  start(): void {
    this.#options.store.subscribe({
      serviceChanged: (service, kind) => this.#changed(service, kind),
      nodeChanged: () => this.replanAll(),
      synced: () => this.#request(),
    });
  }

  /** Resolves when no sync runs any more; what is applied stays. */
  async stop(): Promise<void> {
    await this.#runner.stop();
  }

  /** Something that every plan depends on has changed: our Node, or the addresses of the node. */
  replanAll(): void {
    for (const service of this.#options.store.services()) this.#mark(service.key);
    this.#request();
  }

  #changed(service: ObjectKey, kind: ChangeKind): void {
    this.#mark(service, kind);
    this.#request();
  }

  #mark(service: ObjectKey, kind?: ChangeKind): void {
    this.#dirty.mark(service, Date.now(), kind);
  }

  #request(): void {
    if (this.#options.store.isSynced) this.#runner.request();
  }

  /** False where every change waits for another one (rule S5). */
  async #sync(): Promise<boolean> {
    const startedMs = this.#options.clock.nowMs();
    let steps: readonly Step[] = [];
    try {
      steps = this.#plan(this.#dirty.take());
      for (const service of await this.#options.listeners.retry()) this.#revived.add(service);
      await this.#grow(steps);
      await this.#redirect(steps);
      await this.#shrink();
    } catch (error) {
      this.#dirty.putBack();
      // Those that others brought along, too.
      for (const { service } of steps) this.#mark(service);
      throw error;
    }
    this.#finish(steps, startedMs);
    return steps.length > 0;
  }

  #plan(dirty: readonly Dirty[]): readonly Step[] {
    const { steps, waiting } = this.#planner.plan(dirty);
    for (const { service, sinceMs, waitMs } of waiting) {
      this.#dirty.mark(service, sinceMs);
      this.#runner.request(waitMs);
    }
    return steps;
  }

  async #grow(steps: readonly Step[]): Promise<void> {
    const opening = steps.flatMap(({ changes }) => changes.open);
    const closing = steps.flatMap(({ changes }) => changes.close);
    const updates = steps.flatMap(({ changes }) => changes.update);
    for (const step of steps) this.#reserve(step);
    await this.#options.listeners.vacate([...this.#toClose, ...closing.map(({ key }) => key)], opening);
    await this.#options.listeners.grow(opening, updates);
    for (const { key } of closing) {
      this.#toClose.add(key);
      // An earlier sync that failed may have meant to empty it, which would open it again.
      this.#toEmpty.delete(key);
    }
    for (const listener of [...opening, ...updates.map(({ after }) => after)]) {
      this.#toClose.delete(listener.key);
      if (listener.backends === '') this.#toEmpty.set(listener.key, listener);
      else this.#toEmpty.delete(listener.key);
    }
    for (const step of steps) {
      this.#planner.remember(step);
      this.#report.planChanged(step.before, step.after);
    }
  }

  #reserve({ after, changes }: Step): void {
    const { formerPorts, listeners } = this.#options;
    if (formerPorts === undefined || formerPorts.size === 0) return;
    const reserve = (to: Destination | undefined, port: number | undefined) => {
      const planned = to?.kind === 'listener' ? changes.open.find(({ key }) => key === to.key) : undefined;
      if (port !== undefined && planned !== undefined) listeners.reserve(planned, port);
    };
    for (const { frontend, to, inside } of after.redirects) {
      const former = formerPorts.get(frontendKey(frontend));
      reserve(to, former?.port);
      reserve(inside, former?.insidePort);
    }
  }

  /** A frontend that moves from one Service to another in one sync is set, not removed. */
  async #redirect(steps: readonly Step[]): Promise<void> {
    const again = [...this.#revived].flatMap((service) => this.#planner.redirectsOf(service));
    const set = new Map(
      [...again, ...steps.flatMap(({ changes }) => changes.redirect)].map((one) => [frontendKey(one.frontend), one]),
    );
    const remove = steps.flatMap(({ changes }) => changes.unredirect).filter((key) => !set.has(key));
    await this.#options.redirector.apply({ set: [...set.values()].map((one) => this.#resolve(one)), remove });
    this.#revived.clear();
  }

  #resolve({ frontend, owner, to, inside, allowed }: PlannedRedirect): Redirect {
    const insideAction = inside === undefined ? {} : { insideAction: this.#actionOf(inside) };
    return {
      frontend,
      owner,
      action: this.#actionOf(to),
      ...insideAction,
      ...(allowed === undefined ? {} : { allowed }),
    };
  }

  #actionOf(to: Destination): RedirectAction {
    if (to.kind !== 'listener') return to;
    const place = this.#options.listeners.placeOf(to.key);
    return place === undefined ? { kind: 'reject' } : { kind: 'listener', ...place };
  }

  async #shrink(): Promise<void> {
    await this.#options.listeners.shrink([...this.#toClose], [...this.#toEmpty.values()]);
    this.#toClose.clear();
    this.#toEmpty.clear();
  }

  #finish(steps: readonly Step[], startedMs: number): void {
    this.#dirty.done();
    for (const { service, after } of steps) this.#options.onApplied?.(service, after);
    const appliedAtMs = Date.now();
    const latenciesMs = steps.flatMap(({ newSinceMs, sinceMs }) => {
      const fromMs = newSinceMs ?? sinceMs;
      return fromMs === undefined ? [] : Math.max(0, appliedAtMs - fromMs);
    });
    this.#report.applied(appliedAtMs, this.#options.clock.nowMs() - startedMs, latenciesMs);
    const retryMs = this.#options.listeners.nextRetryMs();
    if (retryMs !== undefined) this.#runner.request(retryMs);
  }
}

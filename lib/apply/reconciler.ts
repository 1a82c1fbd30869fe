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
import type { ObjectKey, Service } from '../model/objects.js';
import { serviceKeyOf } from '../model/service-port.js';
import { Claims } from '../plan/claims.js';
import { type Changes, diffPlans, missingBackends } from '../plan/diff.js';
import { planService } from '../plan/plan-service.js';
import {
  type Destination,
  emptyPlan,
  isOurs,
  type PlannedListener,
  type PlannedRedirect,
  resourcesOf,
  type ServicePlan,
  type View,
} from '../plan/service-plan.js';
import type { Redirect, RedirectAction, Redirector } from '../redirect/redirector.js';
import type { ChangeKind, ObjectStore } from '../source/store.js';
import { type Dirty, DirtyServices } from './dirty-services.js';
import type { ListenerSet } from './listener-set.js';
import { SyncReport } from './sync-report.js';
import { SyncRunner } from './sync-runner.js';
import type { SyncStatus } from './sync-status.js';

export interface ReconcilerOptions {
  readonly store: ObjectStore;
  readonly listeners: ListenerSet;
  readonly redirector: Redirector;
  /** Read anew in every sync; `holderOf` is the reconciler's own. */
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

/** A Service with several slices that loses endpoints waits this long for the slice that may have taken them (rule S5). */
const SHRINK_SETTLE_MS = 100;

/** Where a frontend led: all clients, and those inside where it was elsewhere (rule E7). */
export interface FormerPorts {
  readonly port: number | undefined;
  readonly insidePort: number | undefined;
}

interface Applied {
  readonly plan: ServicePlan;
  readonly slices: number;
  /** Of its youngest slice, in milliseconds since the epoch; 0: none says. */
  readonly triggeredAtMs: number;
}

/** One Service in a sync: what it has, and what it is to have. */
interface Step {
  readonly service: ObjectKey;
  readonly before: ServicePlan;
  readonly after: ServicePlan;
  readonly slices: number;
  readonly triggeredAtMs: number;
  /** When what is new in it happened in the cluster; undefined: nobody says. */
  readonly newSinceMs: number | undefined;
  readonly changes: Changes;
  /** Of its oldest change; undefined where another Service's change brought it here. */
  readonly sinceMs: number | undefined;
}

const NOTHING: Applied = { plan: emptyPlan, slices: 0, triggeredAtMs: 0 };

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #runner: SyncRunner;
  readonly #dirty = new DirtyServices();
  readonly #claims = new Claims();
  readonly #applied = new Map<ObjectKey, Applied>();
  readonly #madeAtMs = Date.now();
  /** Listeners that lose their backends, or go, as soon as no redirect leads to them any more. */
  readonly #toEmpty = new Map<string, PlannedListener>();
  readonly #toClose = new Set<string>();
  /** Services whose redirects may lead to listeners again that could not be opened before. */
  readonly #revived = new Set<ObjectKey>();
  readonly #report: SyncReport;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
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

  /** What clients dial to reach a listener: its redirected frontends; a node port has none. */
  frontendsOf(listener: PlannedListener): readonly FrontendKey[] {
    const leads = (to: Destination | undefined) => to?.kind === 'listener' && to.key === listener.key;
    return this.#frontendsWhere(listener, ({ to, inside }) => leads(to) || leads(inside));
  }

  /** Frontends that would lead to a listener if it had backends: their clients are refused or dropped. */
  rejectedOf({ key, servicePort }: PlannedListener): readonly FrontendKey[] {
    return this.#frontendsWhere({ servicePort }, ({ listener, to }) => listener === key && to.kind !== 'listener');
  }

  #frontendsWhere(
    { servicePort }: Pick<PlannedListener, 'servicePort'>,
    wanted: (redirect: PlannedRedirect) => boolean,
  ): readonly FrontendKey[] {
    const redirects = this.#applied.get(serviceKeyOf(servicePort))?.plan.redirects ?? [];
    return redirects.filter(wanted).map(({ frontend }) => frontendKey(frontend));
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
      steps = this.#planAll(this.#dirty.take());
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

  /** Claims come first: a Service that gains or loses a resource to another one is planned in the same sync. */
  #planAll(taken: readonly Dirty[]): readonly Step[] {
    const services = new Set(taken.map(({ service }) => service));
    const rivals = taken.flatMap(({ service }) => [...this.#claim(service)]);
    for (const rival of rivals) services.add(rival);
    const since = new Map(taken.map((dirty) => [dirty.service, dirty.sinceMs]));
    const view: View = { ...this.#options.view(), holderOf: (resource) => this.#claims.holderOf(resource) };
    return [...services].flatMap((service) => {
      const step = this.#plan(service, view, since.get(service));
      return this.#settles(step) ? [] : [step];
    });
  }

  #claim(key: ObjectKey): ReadonlySet<ObjectKey> {
    const service = this.#ours(key);
    return this.#claims.set(key, service?.createdAt ?? '', service === undefined ? [] : resourcesOf(service));
  }

  #ours(key: ObjectKey): Service | undefined {
    const service = this.#options.store.service(key);
    return service !== undefined && isOurs(service, this.#options.view().serviceProxyName) ? service : undefined;
  }

  #plan(key: ObjectKey, view: View, sinceMs: number | undefined): Step {
    const { plan: before, triggeredAtMs: known } = this.#applied.get(key) ?? NOTHING;
    const service = this.#ours(key);
    const slices = this.#options.store.slicesOf(key);
    const triggeredAtMs = slices.reduce((latest, one) => Math.max(latest, one.triggeredAtMs ?? 0), 0);
    // What happened before we were there is no latency of ours.
    const newSinceMs = triggeredAtMs > Math.max(known, this.#madeAtMs) ? triggeredAtMs : undefined;
    const after = service === undefined ? emptyPlan : planService(service, slices, view);
    for (const note of after.notes) {
      if (before.notes.includes(note)) continue;
      this.#options.log.warn('part of a Service is not served', { key: `${key} ${note}`, service: key, note });
      this.#options.onNote?.(key, note);
    }
    const changes = diffPlans(before, after);
    return { service: key, before, after, slices: slices.length, triggeredAtMs, newSinceMs, changes, sinceMs };
  }

  /** True where the step waits for the slice that may have taken over the endpoints that another one lost (rule S5). */
  #settles(step: Step): boolean {
    const { sinceMs } = step;
    const { slices } = this.#applied.get(step.service) ?? NOTHING;
    const waitedMs = sinceMs === undefined ? SHRINK_SETTLE_MS : Date.now() - sinceMs;
    if (Math.max(slices, step.slices) < 2 || waitedMs >= SHRINK_SETTLE_MS) return false;
    const loses = step.changes.update.some(
      (one) => missingBackends(one.before.backends, one.after.backends).length > 0,
    );
    if (!loses || step.changes.close.length > 0) return false;
    this.#dirty.mark(step.service, sinceMs ?? Date.now());
    this.#runner.request(SHRINK_SETTLE_MS - waitedMs);
    return true;
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
      if (listener.backends.length === 0) this.#toEmpty.set(listener.key, listener);
      else this.#toEmpty.delete(listener.key);
    }
    for (const step of steps) this.#remember(step);
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

  #remember({ service, before, after, slices, triggeredAtMs }: Step): void {
    this.#report.planChanged(before, after);
    if (after === emptyPlan) this.#applied.delete(service);
    else this.#applied.set(service, { plan: after, slices, triggeredAtMs });
  }

  /** A frontend that moves from one Service to another in one sync is set, not removed. */
  async #redirect(steps: readonly Step[]): Promise<void> {
    const again = [...this.#revived].flatMap((service) => this.#applied.get(service)?.plan.redirects ?? []);
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

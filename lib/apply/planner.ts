/**
 * Owns planning in a sync: which Services need a step, from the plan that is applied to the one that is wanted.
 *
 *   Dirty[] -> claims -> planService + diffPlans -> Step[] -> reconciler -> remember
 *
 * Only what is dirty is planned, and what its claims touch: it costs what changed, however many Services there are.
 */
import type { Log } from '../config/log.js';
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
import type { ObjectStore } from '../source/store.js';
import type { Dirty } from './dirty-services.js';

export interface PlannerOptions {
  readonly store: ObjectStore;
  /** Read anew in every sync; `holderOf` is the planner's own. */
  readonly view: () => Omit<View, 'holderOf'>;
  /** Told once of every part of a Service that is not served, and why. */
  readonly onNote?: (service: ObjectKey, note: string) => void;
  readonly log: Log;
}

/** A Service with several slices that loses endpoints waits this long for the slice that may have taken them (rule S5). */
const SHRINK_SETTLE_MS = 100;

interface Applied {
  readonly plan: ServicePlan;
  readonly slices: number;
  /** Of its youngest slice, in milliseconds since the epoch; 0: none says. */
  readonly triggeredAtMs: number;
}

/** One Service in a sync: what it has, and what it is to have. */
export interface Step {
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

/** What a sync has to do, and which Services it leaves for one `waitMs` later (rule S5). */
export interface Planned {
  readonly steps: readonly Step[];
  readonly waiting: readonly (Dirty & { readonly waitMs: number })[];
}

export class Planner {
  readonly #options: PlannerOptions;
  readonly #claims = new Claims();
  readonly #applied = new Map<ObjectKey, Applied>();
  readonly #madeAtMs = Date.now();

  constructor(options: PlannerOptions) {
    this.#options = options;
  }

  /** Claims come first: a Service that gains or loses a resource to another one is planned in the same sync. */
  plan(dirty: readonly Dirty[]): Planned {
    const services = new Set(dirty.map(({ service }) => service));
    const rivals = dirty.flatMap(({ service }) => [...this.#claim(service)]);
    for (const rival of rivals) services.add(rival);
    const since = new Map(dirty.map((one) => [one.service, one.sinceMs]));
    const view: View = { ...this.#options.view(), holderOf: (resource) => this.#claims.holderOf(resource) };
    const steps: Step[] = [];
    const waiting: (Dirty & { readonly waitMs: number })[] = [];
    for (const service of services) {
      const step = this.#plan(service, view, since.get(service));
      const waitMs = this.#settleMs(step);
      if (waitMs === 0) steps.push(step);
      else waiting.push({ service, sinceMs: step.sinceMs ?? Date.now(), waitMs });
    }
    return { steps, waiting };
  }

  /** The step is taken: what follows starts from its plan. */
  remember({ service, after, slices, triggeredAtMs }: Step): void {
    if (after === emptyPlan) this.#applied.delete(service);
    else this.#applied.set(service, { plan: after, slices, triggeredAtMs });
  }

  redirectsOf(service: ObjectKey): readonly PlannedRedirect[] {
    return this.#applied.get(service)?.plan.redirects ?? [];
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
    return this.redirectsOf(serviceKeyOf(servicePort))
      .filter(wanted)
      .map(({ frontend }) => frontendKey(frontend));
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

  /** How long the step waits for the slice that may have taken over the endpoints that another one lost (rule S5). */
  #settleMs({ service, slices, changes, sinceMs }: Step): number {
    const { slices: before } = this.#applied.get(service) ?? NOTHING;
    const waitedMs = sinceMs === undefined ? SHRINK_SETTLE_MS : Date.now() - sinceMs;
    if (Math.max(before, slices) < 2 || waitedMs >= SHRINK_SETTLE_MS) return 0;
    const loses = changes.update.some((one) => missingBackends(one.before.backends, one.after.backends).length > 0);
    return loses && changes.close.length === 0 ? SHRINK_SETTLE_MS - waitedMs : 0;
  }
}

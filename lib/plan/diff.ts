/**
 * Owns the difference between two plans of one Service: what to do, not how.
 *
 *   ServicePlan before, ServicePlan after -> diffPlans -> Changes -> reconciler
 */
import { isDeepStrictEqual } from 'node:util';
import { type BackendKey, keysOf, type PackedBackends } from '../model/backend.js';
import { type FrontendKey, frontendKey } from '../model/frontend.js';
import type { PlannedListener, PlannedRedirect, ServicePlan } from './service-plan.js';

export interface Changes {
  readonly open: readonly PlannedListener[];
  readonly update: readonly ListenerUpdate[];
  readonly close: readonly PlannedListener[];
  /** New or leading elsewhere. */
  readonly redirect: readonly PlannedRedirect[];
  readonly unredirect: readonly FrontendKey[];
}

export interface ListenerUpdate {
  readonly before: PlannedListener;
  readonly after: PlannedListener;
}

export function diffPlans(before: ServicePlan, after: ServicePlan): Changes {
  const oldListeners = new Map(before.listeners.map((listener) => [listener.key, listener]));
  const newListeners = new Map(after.listeners.map((listener) => [listener.key, listener]));
  const oldRedirects = new Map(before.redirects.map((redirect) => [frontendKey(redirect.frontend), redirect]));
  const newRedirects = new Map(after.redirects.map((redirect) => [frontendKey(redirect.frontend), redirect]));
  return {
    open: after.listeners.filter(({ key }) => !oldListeners.has(key)),
    update: after.listeners.flatMap((listener) => {
      const old = oldListeners.get(listener.key);
      return old === undefined || sameListener(old, listener) ? [] : [{ before: old, after: listener }];
    }),
    close: before.listeners.filter(({ key }) => !newListeners.has(key)),
    redirect: after.redirects.filter((redirect) => {
      const old = oldRedirects.get(frontendKey(redirect.frontend));
      return old === undefined || !isDeepStrictEqual(old, redirect);
    }),
    unredirect: [...oldRedirects.keys()].filter((key) => !newRedirects.has(key)),
  };
}

export function isEmpty(changes: Changes): boolean {
  return Object.values(changes).every((list) => list.length === 0);
}

/** Backends that the first has and the second has not. */
export function missingBackends(before: PackedBackends, after: PackedBackends): readonly BackendKey[] {
  if (before === after) return [];
  const kept = new Set(keysOf(after));
  return keysOf(before).filter((key) => !kept.has(key));
}

/** The key stands for place and Service port; what can differ under one key is compared here. */
function sameListener(a: PlannedListener, b: PlannedListener): boolean {
  return (
    a.affinityTimeoutMs === b.affinityTimeoutMs &&
    missingBackends(a.backends, b.backends).length === 0 &&
    missingBackends(b.backends, a.backends).length === 0
  );
}

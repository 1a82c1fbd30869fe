/**
 * Owns the choice of the endpoints that serve a frontend. Modelled on kubernetes pkg/proxy/topology.go.
 *
 *   Endpoint[] + policy + where we are -> selectEndpoints -> Endpoint[]
 */
import type { Endpoint } from './endpoints.js';
import type { TrafficPolicy } from './objects.js';

/** What is known of our node for topology. */
export interface Place {
  readonly nodeName: string;
  readonly zone: string | undefined;
}

/** Rules E1, E2 and E4. Empty: the frontend has nobody to serve it. */
export function selectEndpoints(
  endpoints: readonly Endpoint[],
  policy: TrafficPolicy,
  place: Place,
): readonly Endpoint[] {
  const candidates = policy === 'Local' ? endpoints.filter((endpoint) => endpoint.local) : endpoints;
  const ready = candidates.filter((endpoint) => endpoint.ready);
  if (ready.length === 0) return candidates.filter((endpoint) => endpoint.serving && endpoint.terminating);
  return policy === 'Local' ? ready : byHints(ready, place);
}

/** Node hints win over zone hints; hints that not every ready endpoint has, or that name nobody here, count for nothing. */
function byHints(ready: readonly Endpoint[], place: Place): readonly Endpoint[] {
  return (
    hinted(ready, (endpoint) => endpoint.nodeHints, place.nodeName) ??
    hinted(ready, (endpoint) => endpoint.zoneHints, place.zone) ??
    ready
  );
}

function hinted(
  ready: readonly Endpoint[],
  hints: (endpoint: Endpoint) => readonly string[],
  here: string | undefined,
): readonly Endpoint[] | undefined {
  if (here === undefined || ready.some((endpoint) => hints(endpoint).length === 0)) return undefined;
  const ours = ready.filter((endpoint) => hints(endpoint).includes(here));
  return ours.length > 0 ? ours : undefined;
}

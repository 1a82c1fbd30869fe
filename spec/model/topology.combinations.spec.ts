/**
 * Every small set of endpoints, in every combination of what the rules E1 to E6 speak of, against those rules said again in
 * plain words: who is served, who is refused, who is dropped.
 */
import { expect } from 'chai';
import { unpackBackends } from '../../lib/model/backend.js';
import type { Service, SliceEndpoint, TrafficPolicy } from '../../lib/model/objects.js';
import { planService } from '../../lib/plan/plan-service.js';
import type { Destination, ServicePlan, View } from '../../lib/plan/service-plan.js';
import { redisService, redisSlice, sliceEndpoint } from '../support/objects.js';

type State = 'ready' | 'terminating' | 'unready';
type Hint = 'none' | 'ours' | 'other';

interface Kind {
  readonly state: State;
  readonly local: boolean;
  readonly zone: Hint;
  readonly node: Hint;
}

const STATES: readonly State[] = ['ready', 'terminating', 'unready'];
const HINTS: readonly Hint[] = ['none', 'ours', 'other'];
const NO_HINT: readonly Hint[] = ['none'];
const POLICIES: readonly TrafficPolicy[] = ['Cluster', 'Local'];

function kinds(zones: readonly Hint[], nodes: readonly Hint[]): readonly Kind[] {
  return STATES.flatMap((state) =>
    [true, false].flatMap((local) => zones.flatMap((zone) => nodes.map((node) => ({ state, local, zone, node })))),
  );
}

/** Every multiset of `size` of them. */
function sets(of: readonly Kind[], size: number): readonly (readonly Kind[])[] {
  if (size === 0) return [[]];
  return of.flatMap((kind, at) => sets(of.slice(at), size - 1).map((rest) => [kind, ...rest]));
}

/** Pairs with both kinds of hints; triples with one kind, so that hints can be partial among several that have them. */
const SETS: readonly (readonly Kind[])[] = [
  ...[0, 1, 2].flatMap((size) => sets(kinds(HINTS, HINTS), size)),
  ...sets(kinds(HINTS, NO_HINT), 3),
  ...sets(kinds(NO_HINT, HINTS), 3),
];

const ZONES: Record<Hint, readonly string[]> = { none: [], ours: ['z9', 'z1'], other: ['z2'] };
const NODES: Record<Hint, readonly string[]> = { none: [], ours: ['node-a'], other: ['node-b', 'node-c'] };
const address = (index: number) => `10.244.1.${index + 1}`;

function endpointOf({ state, local, zone, node }: Kind, index: number): SliceEndpoint {
  return sliceEndpoint({
    address: address(index),
    nodeName: local ? 'node-a' : 'node-b',
    ready: state === 'ready',
    serving: state !== 'unready',
    terminating: state === 'terminating',
    zoneHints: ZONES[zone],
    nodeHints: NODES[node],
  });
}

/** One endpoint's share in the rules, asked of each endpoint by itself. */
function serves(one: Kind, all: readonly Kind[], policy: TrafficPolicy, zoned: boolean): boolean {
  if (one.state === 'unready') return false;
  // E2: of this node alone, and judged among those of this node alone.
  if (policy === 'Local')
    return one.local && (one.state === 'ready' || !all.some((e) => e.local && e.state === 'ready'));
  const ready = all.filter((e) => e.state === 'ready');
  // E1: those on their way out serve where nobody else does; hints say nothing of them (E4).
  if (one.state === 'terminating') return ready.length === 0;
  // E4: hints count where all ready endpoints have one and some name us, the node's before the zone's.
  if (ready.every((e) => e.node !== 'none') && ready.some((e) => e.node === 'ours')) return one.node === 'ours';
  if (zoned && ready.every((e) => e.zone !== 'none') && ready.some((e) => e.zone === 'ours'))
    return one.zone === 'ours';
  return true;
}

/** What a client meets: `10.244.1.1 10.244.1.3`, `refused` (E5), or `dropped` (E6). */
function meets(all: readonly Kind[], policy: TrafficPolicy, zoned: boolean): string {
  const serving = all.flatMap((one, index) => (serves(one, all, policy, zoned) ? [address(index)] : []));
  if (serving.length > 0) return serving.join(' ');
  return all.some((one) => one.state !== 'unready') ? 'dropped' : 'refused';
}

function viewOf(zoned: boolean): View {
  return {
    nodeName: 'node-a',
    zone: zoned ? 'z1' : undefined,
    serviceProxyName: undefined,
    nodePortHosts: (family) => (family === 'IPv4' ? ['0.0.0.0'] : []),
    redirectHost: (family) => (family === 'IPv4' ? '192.168.77.1' : undefined),
    holderOf: () => 'work/saythx-redis',
  };
}

function followed({ listeners }: ServicePlan, to: Destination | undefined): string {
  if (to?.kind !== 'listener') return to?.kind === 'drop' ? 'dropped' : 'refused';
  const backends = listeners.find(({ key }) => key === to.key)?.backends ?? '';
  return backends === ''
    ? 'listener without backends'
    : unpackBackends(backends)
        .map(({ host }) => host)
        .join(' ');
}

/** What clients of each frontend meet by the plan. */
function planned(plan: ServicePlan) {
  const redirect = (ip: string) => plan.redirects.find(({ frontend }) => frontend.address === ip);
  const external = redirect('203.0.113.7');
  const socket = plan.listeners.find(({ at }) => at.kind === 'nodePort');
  const nodePort =
    redirect('0.0.0.0')?.to ?? (socket?.backends.length ? ({ kind: 'listener', key: socket.key } as const) : undefined);
  return {
    clusterIp: followed(plan, redirect('10.96.0.10')?.to),
    externalIpOutside: followed(plan, external?.to),
    externalIpInside: followed(plan, external?.inside ?? external?.to),
    nodePortOutside: followed(plan, nodePort),
  };
}

function expected(all: readonly Kind[], internal: TrafficPolicy, external: TrafficPolicy, zoned: boolean) {
  return {
    clusterIp: meets(all, internal, zoned),
    externalIpOutside: meets(all, external, zoned),
    // E7: from inside the policy of external traffic does not count.
    externalIpInside: meets(all, 'Cluster', zoned),
    nodePortOutside: meets(all, external, zoned),
  };
}

function serviceWith(internalTrafficPolicy: TrafficPolicy, externalTrafficPolicy: TrafficPolicy): Service {
  return redisService({ internalTrafficPolicy, externalTrafficPolicy, externalIPs: ['203.0.113.7'] });
}

describe('every combination of endpoints (E1 to E7)', () => {
  for (const internal of POLICIES) {
    for (const external of POLICIES) {
      for (const zoned of [true, false]) {
        const title = `internal ${internal}, external ${external}, ${zoned ? 'a zone' : 'no zone'}`;
        it(`${title}: ${SETS.length} sets`, () => {
          const service = serviceWith(internal, external);
          const view = viewOf(zoned);
          for (const all of SETS) {
            const plan = planService(service, [redisSlice(all.map(endpointOf))], view);
            const want = expected(all, internal, external, zoned);
            expect(planned(plan), JSON.stringify(all)).to.deep.equal(want);
          }
        });
      }
    }
  }

  it('contain each of the words at least once, so that none is proved by nobody', () => {
    const words = new Set<string>();
    for (const all of SETS) {
      for (const policy of POLICIES) for (const zoned of [true, false]) words.add(meets(all, policy, zoned));
    }
    const someone = ['10.244.1.1', '10.244.1.2', '10.244.1.3', '10.244.1.1 10.244.1.2 10.244.1.3'];
    expect([...words]).to.include.members(['refused', 'dropped', ...someone]);
  });
});

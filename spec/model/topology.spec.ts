import { expect } from 'chai';
import type { Endpoint } from '../../lib/model/endpoints.js';
import type { TrafficPolicy } from '../../lib/model/objects.js';
import { selectEndpoints } from '../../lib/model/topology.js';

/** `a` ready, `t` terminating but serving, `x` neither ready nor serving, `d` terminating and no longer serving. */
type State = 'a' | 't' | 'x' | 'd';

function endpoint(address: string, state: State, over: Partial<Endpoint> = {}): Endpoint {
  const terminating = state === 't' || state === 'd';
  const serving = state === 'a' || state === 't';
  const base = { address, port: 80, ready: state === 'a', serving, terminating, local: false };
  return { ...base, zoneHints: [], nodeHints: [], ...over };
}

const here = { local: true };
const zone = (...zoneHints: string[]) => ({ zoneHints });
const node = (...nodeHints: string[]) => ({ nodeHints });

interface Case {
  readonly title: string;
  readonly endpoints: readonly Endpoint[];
  readonly policy?: TrafficPolicy;
  /** null: the Node has no zone label. */
  readonly inZone?: string | null;
  readonly serve: readonly string[];
}

const cases: readonly Case[] = [
  { title: 'nobody without endpoints (E1)', endpoints: [], serve: [] },
  {
    title: 'the ready ones (E1)',
    endpoints: [endpoint('1', 'a'), endpoint('2', 'x'), endpoint('3', 'a', here)],
    serve: ['1', '3'],
  },
  {
    title: 'ready ones only, while there is one, beside terminating ones (E1)',
    endpoints: [endpoint('1', 't'), endpoint('2', 'a')],
    serve: ['2'],
  },
  {
    title: 'serving and terminating ones where none is ready (E1)',
    endpoints: [endpoint('1', 't'), endpoint('2', 'x'), endpoint('3', 'd')],
    serve: ['1'],
  },
  {
    title: 'nobody where none is ready and none is both serving and terminating (E1)',
    endpoints: [endpoint('1', 'x'), endpoint('2', 'd')],
    serve: [],
  },
  {
    title: 'local ready ones with policy Local (E2)',
    policy: 'Local',
    endpoints: [endpoint('1', 'a'), endpoint('2', 'a', here), endpoint('3', 't', here)],
    serve: ['2'],
  },
  {
    title: 'local terminating ones with policy Local, though others are ready elsewhere (E2)',
    policy: 'Local',
    endpoints: [endpoint('1', 'a'), endpoint('2', 't', here), endpoint('3', 'd', here)],
    serve: ['2'],
  },
  {
    title: 'nobody with policy Local where all are elsewhere (E2)',
    policy: 'Local',
    endpoints: [endpoint('1', 'a'), endpoint('2', 't')],
    serve: [],
  },
  {
    title: 'those hinted for our zone (E4)',
    endpoints: [endpoint('1', 'a', zone('z1')), endpoint('2', 'a', zone('z2')), endpoint('3', 'a', zone('z2', 'z1'))],
    serve: ['1', '3'],
  },
  {
    title: 'all where one ready endpoint has no hint (E4)',
    endpoints: [endpoint('1', 'a', zone('z1')), endpoint('2', 'a')],
    serve: ['1', '2'],
  },
  {
    title: 'those hinted, where only an endpoint that is not ready lacks a hint (E4)',
    endpoints: [endpoint('1', 'a', zone('z1')), endpoint('2', 'a', zone('z2')), endpoint('3', 'x')],
    serve: ['1'],
  },
  {
    title: 'all where no hint names our zone (E4)',
    endpoints: [endpoint('1', 'a', zone('z2')), endpoint('2', 'a', zone('z3'))],
    serve: ['1', '2'],
  },
  {
    title: 'all where our Node has no zone (E4)',
    inZone: null,
    endpoints: [endpoint('1', 'a', zone('z1')), endpoint('2', 'a', zone('z2'))],
    serve: ['1', '2'],
  },
  {
    title: 'those hinted for our node, before zone hints (E4)',
    endpoints: [
      endpoint('1', 'a', { ...zone('z1'), ...node('node-b') }),
      endpoint('2', 'a', { ...zone('z2'), ...node('node-a') }),
    ],
    serve: ['2'],
  },
  {
    title: 'those hinted for our zone, where no node hint names us (E4)',
    endpoints: [
      endpoint('1', 'a', { ...zone('z1'), ...node('node-b') }),
      endpoint('2', 'a', { ...zone('z2'), ...node('node-c') }),
    ],
    serve: ['1'],
  },
  {
    title: 'local ones with policy Local whatever the hints say (E4)',
    policy: 'Local',
    endpoints: [endpoint('1', 'a', { ...here, ...zone('z2') }), endpoint('2', 'a', { ...here, ...zone('z1') })],
    serve: ['1', '2'],
  },
  {
    title: 'terminating ones whatever the hints say (E4)',
    endpoints: [endpoint('1', 't', zone('z1')), endpoint('2', 't', zone('z2'))],
    serve: ['1', '2'],
  },
];

describe('selectEndpoints chooses', () => {
  for (const { title, endpoints, policy = 'Cluster', inZone = 'z1', serve } of cases) {
    it(title, () => {
      const place = { nodeName: 'node-a', zone: inZone ?? undefined };
      expect(selectEndpoints(endpoints, policy, place).map(({ address }) => address)).to.deep.equal(serve);
    });
  }
});

import { expect } from 'chai';
import { packBackends } from '../../lib/model/backend.js';
import type { Service } from '../../lib/model/objects.js';
import { planService } from '../../lib/plan/plan-service.js';
import { type Destination, isOurs, resourcesOf, type View } from '../../lib/plan/service-plan.js';
import { redisService, redisSlice, servicePort } from '../support/objects.js';

function view(over: Partial<View> = {}): View {
  return {
    nodeName: 'node-a',
    zone: undefined,
    serviceProxyName: undefined,
    nodePortHosts: (family) => [family === 'IPv4' ? '0.0.0.0' : '::'],
    redirectHost: (family) => (family === 'IPv4' ? '192.168.77.1' : 'fd00:77::1'),
    holderOf: () => 'work/saythx-redis',
    ...over,
  };
}

const dualStack = redisService({ clusterIPs: ['10.96.0.10', 'fd00:96::a'] });
const slice6 = redisSlice(['fd00::11'], { key: 'work/saythx-redis-6', family: 'IPv6' });
/** The listener key, or what becomes of clients instead. */
const leads = (to: Destination | undefined) => (to?.kind === 'listener' ? to.key : to?.kind);
const backends = (...hosts: string[]) => packBackends(hosts.map((host) => ({ host, port: 6379 })));

describe('planService', () => {
  it('listens on the node port and on a redirect port behind the cluster IP', () => {
    const plan = planService(redisService(), [redisSlice(['10.244.1.11', '10.244.1.12'])], view());
    expect(plan.listeners.map(({ key, at, backends }) => ({ key, at, backends }))).to.deep.equal([
      {
        key: 'work/saythx-redis:redis/TCP@internal/192.168.77.1',
        at: { kind: 'redirect', host: '192.168.77.1' },
        backends: backends('10.244.1.11', '10.244.1.12'),
      },
      {
        key: 'work/saythx-redis:redis/TCP@0.0.0.0:31269',
        at: { kind: 'nodePort', host: '0.0.0.0', port: 31269 },
        backends: backends('10.244.1.11', '10.244.1.12'),
      },
    ]);
    expect(plan.redirects).to.deep.equal([
      {
        frontend: { address: '10.96.0.10', port: 6379, protocol: 'TCP' },
        owner: 'work/saythx-redis:redis/TCP',
        listener: 'work/saythx-redis:redis/TCP@internal/192.168.77.1',
        to: { kind: 'listener', key: 'work/saythx-redis:redis/TCP@internal/192.168.77.1' },
      },
    ]);
    expect(plan.notes).to.deep.equal([]);
  });

  it('uses every cluster IP, each family on its own (S2)', () => {
    const plan = planService(dualStack, [redisSlice(['10.244.1.11']), slice6], view());
    expect(plan.redirects.map(({ frontend, to }) => [frontend.address, leads(to)])).to.deep.equal([
      ['10.96.0.10', 'work/saythx-redis:redis/TCP@internal/192.168.77.1'],
      ['fd00:96::a', 'work/saythx-redis:redis/TCP@internal/fd00:77::1'],
    ]);
    const byKey = new Map(plan.listeners.map((listener) => [listener.key, listener.backends]));
    expect(byKey.get('work/saythx-redis:redis/TCP@0.0.0.0:31269')).to.deep.equal(backends('10.244.1.11'));
    expect(byKey.get('work/saythx-redis:redis/TCP@[::]:31269')).to.deep.equal(backends('fd00::11'));
  });

  it('refuses the family that has no endpoints and serves the other (S2, E5)', () => {
    const plan = planService(dualStack, [redisSlice(['10.244.1.11'])], view());
    expect(plan.redirects.map(({ to }) => leads(to))).to.deep.equal([
      'work/saythx-redis:redis/TCP@internal/192.168.77.1',
      'reject',
    ]);
    const six = plan.listeners.filter(({ family }) => family === 'IPv6');
    expect(six.map((listener) => listener.backends)).to.deep.equal(['', '']);
  });

  it('opens nothing on the node in a family that the Service does not have', () => {
    const plan = planService(redisService(), [redisSlice(['10.244.1.11']), slice6], view());
    expect(plan.listeners.map(({ family }) => family)).to.deep.equal(['IPv4', 'IPv4']);
  });

  it('gives a Service without cluster IPs the families of its slices', () => {
    const plan = planService(redisService({ clusterIPs: [] }), [slice6], view());
    expect(plan.listeners.map(({ key }) => key)).to.deep.equal(['work/saythx-redis:redis/TCP@[::]:31269']);
    expect(plan.redirects).to.deep.equal([]);
  });

  it('refuses clients of external IPs of a Service without cluster IPs and without slices (E5)', () => {
    const service = redisService({ clusterIPs: [], externalIPs: ['198.51.100.7'] });
    const plan = planService(service, [], view());
    expect(plan.redirects.map(({ frontend, to }) => [frontend.address, leads(to)])).to.deep.equal([
      ['198.51.100.7', 'reject'],
    ]);
  });

  it('obeys internalTrafficPolicy for the cluster IP and externalTrafficPolicy for the node port (E3)', () => {
    const slices = [redisSlice(['10.244.1.11', { address: '10.244.2.12', nodeName: 'node-b' }])];
    for (const [internal, external, cluster, nodePort] of [
      ['Cluster', 'Local', ['10.244.1.11', '10.244.2.12'], ['10.244.1.11']],
      ['Local', 'Cluster', ['10.244.1.11'], ['10.244.1.11', '10.244.2.12']],
    ] as const) {
      const service = redisService({ internalTrafficPolicy: internal, externalTrafficPolicy: external });
      const [first, second] = planService(service, slices, view()).listeners;
      expect(first?.backends).to.deep.equal(backends(...cluster));
      expect(second?.backends).to.deep.equal(backends(...nodePort));
    }
  });

  it('counts frontends of policy Local whose endpoints are all elsewhere (H4)', () => {
    const slices = [redisSlice([{ address: '10.244.2.12', nodeName: 'node-b' }])];
    const service = redisService({ externalTrafficPolicy: 'Local' });
    expect(planService(service, slices, view()).noLocal).to.deep.equal({ internal: 0, external: 1 });
    expect(planService(service, [], view()).noLocal).to.deep.equal({ internal: 0, external: 0 });
  });

  it('counts a Service port once, whatever its frontends and families (H4)', () => {
    const elsewhere = { nodeName: 'node-b' };
    const slices = [
      redisSlice([{ address: '10.244.2.12', ...elsewhere }]),
      redisSlice([{ address: 'fd00::12', ...elsewhere }], { key: 'work/saythx-redis-6', family: 'IPv6' }),
    ];
    const local = { internalTrafficPolicy: 'Local', externalTrafficPolicy: 'Local' } as const;
    const service = { ...dualStack, ...local, externalIPs: ['198.51.100.7'] };
    expect(planService(service, slices, view()).noLocal).to.deep.equal({ internal: 1, external: 1 });
    const ports = [servicePort({ nodePort: undefined })];
    expect(planService({ ...service, ports }, slices, view()).noLocal).to.deep.equal({ internal: 1, external: 1 });
  });

  it('drops clients of a cluster IP with policy Local whose endpoints are all elsewhere (E6)', () => {
    const slices = [redisSlice([{ address: '10.244.2.12', nodeName: 'node-b' }])];
    const plan = planService(redisService({ internalTrafficPolicy: 'Local' }), slices, view());
    expect(plan.redirects.map(({ frontend, to }) => [frontend.address, leads(to)])).to.deep.equal([
      ['10.96.0.10', 'drop'],
    ]);
  });

  it('drops clients from outside on each address of a node port with policy Local that outside can reach (E6, E11)', () => {
    const slices = [redisSlice([{ address: '10.244.2.12', nodeName: 'node-b' }])];
    const hosts = view({ nodePortHosts: () => ['127.0.0.1', '192.168.77.1'] });
    const plan = planService(
      redisService({ clusterIPs: ['10.96.0.10'], externalTrafficPolicy: 'Local' }),
      slices,
      hosts,
    );
    const nodePort = plan.redirects.filter(({ frontend }) => frontend.port === 31_269);
    expect(nodePort.map(({ frontend, to }) => [frontend.address, leads(to)])).to.deep.equal([['192.168.77.1', 'drop']]);
  });

  it('keeps the listeners of a Service without endpoints, with none to send to (E5)', () => {
    const plan = planService(redisService(), [], view());
    expect(plan.listeners.map((listener) => listener.backends)).to.deep.equal(['', '']);
    expect(plan.redirects.map(({ to }) => leads(to))).to.deep.equal(['reject']);
  });

  it('opens only node ports where nothing can be redirected', () => {
    const plan = planService(dualStack, [redisSlice(['10.244.1.11'])], view({ redirectHost: () => undefined }));
    expect(plan.listeners.map(({ at }) => at.kind)).to.deep.equal(['nodePort', 'nodePort']);
    expect(plan.redirects).to.deep.equal([]);
  });

  it('listens for node ports on each address it is given (E11)', () => {
    const hosts = view({ nodePortHosts: () => ['127.0.0.1', '192.168.77.1'], redirectHost: () => undefined });
    const plan = planService(redisService(), [redisSlice(['10.244.1.11'])], hosts);
    expect(plan.listeners.map(({ key }) => key)).to.deep.equal([
      'work/saythx-redis:redis/TCP@127.0.0.1:31269',
      'work/saythx-redis:redis/TCP@192.168.77.1:31269',
    ]);
  });

  it('serves the other ports of a Service with an SCTP port, and says so (S6)', () => {
    const ports = [servicePort(), servicePort({ name: 'sig', protocol: 'SCTP', port: 3868, nodePort: 31300 })];
    const plan = planService(redisService({ ports }), [redisSlice(['10.244.1.11'])], view());
    expect(plan.listeners).to.have.length(2);
    expect(plan.notes).to.deep.equal(['port 3868/SCTP is not supported and is not served']);
  });

  it('leaves a node port to the older Service and names it; the rest is served (C2)', () => {
    const other = view({ holderOf: (key) => (key === 'nodePort:31269/TCP' ? 'work/older' : 'work/saythx-redis') });
    const plan = planService(redisService(), [redisSlice(['10.244.1.11'])], other);
    expect(plan.listeners.map(({ at }) => at.kind)).to.deep.equal(['redirect']);
    expect(plan.notes).to.deep.equal(['nodePort:31269/TCP is not served: Service work/older had it first']);
  });
});

describe('isOurs', () => {
  const cases: readonly [string, Partial<Service>, string | undefined, boolean][] = [
    ['a Service', {}, undefined, true],
    ['an ExternalName', { type: 'ExternalName' }, undefined, false],
    ['a headless Service', { headless: true, clusterIPs: [] }, undefined, false],
    ['a Service of another proxy', { proxyName: 'other' }, undefined, false],
    ['a Service that names us', { proxyName: 'kproxy-us' }, 'kproxy-us', true],
    ['a Service that names nobody, when we have a name', {}, 'kproxy-us', false],
  ];
  for (const [title, over, name, ours] of cases) {
    it(`says ${ours} for ${title} (S1)`, () => {
      expect(isOurs(redisService(over), name)).to.equal(ours);
    });
  }
});

describe('resourcesOf', () => {
  it('names every frontend and node port, not those of SCTP', () => {
    const ports = [servicePort(), servicePort({ name: 'sig', protocol: 'SCTP', port: 3868, nodePort: 31300 })];
    expect(resourcesOf({ ...dualStack, ports })).to.deep.equal([
      '10.96.0.10:6379/TCP',
      '[fd00:96::a]:6379/TCP',
      'nodePort:31269/TCP',
    ]);
  });
});

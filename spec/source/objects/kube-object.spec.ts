import { expect } from 'chai';
import { SliceEndpoints } from '../../../lib/model/slice-endpoints.js';
import { parseObjects } from '../../../lib/source/objects/kube-object.js';
import { endpointsJson, type Json, nodeJson, serviceJson, sliceJson } from './kube-json.js';
import { linesOf, pathsOf } from './parsed.js';

const options = { allowLoopback: false };

function read(json: unknown) {
  return parseObjects(json, options);
}

describe('telling Kubernetes objects apart', () => {
  it('reads each kind that a proxy uses', () => {
    const all = [serviceJson(), sliceJson(), endpointsJson([{ addresses: [{ ip: '10.0.0.1' }] }]), nodeJson()];
    expect(all.flatMap((json) => read(json).items.map(({ id }) => id))).to.deep.equal([
      'Service work/saythx-redis',
      'EndpointSlice work/saythx-redis-1',
      'Endpoints work/saythx-redis',
      'Node node-a',
    ]);
  });

  it('reads the items of a List', () => {
    const { items } = read({ apiVersion: 'v1', kind: 'List', items: [serviceJson(), sliceJson()] });
    expect(items.map(({ id, path }) => [id, path])).to.deep.equal([
      ['Service work/saythx-redis', ['items', 0]],
      ['EndpointSlice work/saythx-redis-1', ['items', 1]],
    ]);
  });

  for (const [kind, item] of [
    ['Service', serviceJson()],
    ['EndpointSlice', sliceJson()],
    ['Endpoints', endpointsJson([])],
    ['Node', nodeJson()],
  ] as const) {
    it(`reads a ${kind}List, whose items need not say their kind`, () => {
      const bare: Json = { ...item, kind: undefined, apiVersion: undefined };
      const { items } = read({ apiVersion: item['apiVersion'], kind: `${kind}List`, items: [bare, item] });
      expect(items.map(({ parsed }) => linesOf(parsed))).to.deep.equal([[], []]);
      expect(items[0]?.id).to.match(new RegExp(`^${kind} `));
    });
  }

  it('costs only the bad item of a List (C2)', () => {
    const { items } = read({ apiVersion: 'v1', kind: 'List', items: [serviceJson({ ports: [] }), null, nodeJson()] });
    expect(items.map(({ parsed }) => pathsOf(parsed))).to.deep.equal([['spec.ports'], [''], []]);
  });

  it('says that v1beta1 slices are not read', () => {
    const [item] = read(sliceJson({ apiVersion: 'discovery.k8s.io/v1beta1' })).items;
    expect(item?.id).to.equal('EndpointSlice work/saythx-redis-1');
    expect(item && linesOf(item.parsed)).to.deep.equal([
      'apiVersion: expected discovery.k8s.io/v1, got "discovery.k8s.io/v1beta1"',
    ]);
  });

  it('leaves kinds to others that a proxy has no use for', () => {
    const json = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' } };
    expect(read(json)).to.deep.equal({ items: [], ignored: ['apps/v1 Deployment'] });
    expect(read({ apiVersion: 'serving.knative.dev/v1', kind: 'Service' }).items).to.deep.equal([]);
  });

  for (const [title, json, path] of [
    ['no object', 'text', ''],
    ['a list', [], ''],
    ['null', null, ''],
    ['an object without kind', { apiVersion: 'v1' }, 'kind'],
    ['an object without apiVersion', { kind: 'Deployment' }, 'apiVersion'],
    ['a List without a list', { apiVersion: 'v1', kind: 'List', items: {} }, 'items'],
    ['a List in a List', { apiVersion: 'v1', kind: 'List', items: [{ apiVersion: 'v1', kind: 'List' }] }, 'kind'],
  ] as const) {
    it(`refuses ${title} (C1)`, () => {
      const { items } = read(json);
      expect(items.map(({ id, parsed }) => [id, ...pathsOf(parsed)])).to.deep.equal([[undefined, path]]);
    });
  }

  it('does not take a bad name for an identity', () => {
    const [item] = read(serviceJson({}, { metadata: { name: 'a\nERROR forged' } })).items;
    expect(item).to.include({ id: undefined, title: 'Service default/"a\\nERROR forged"' });
  });
});

describe('reading Endpoints', () => {
  it('makes one slice for each subset and family (S3)', () => {
    const ports = [{ port: 6379 }];
    const subsets = [
      {
        addresses: [{ ip: '10.0.0.1', nodeName: 'node-a' }, { ip: 'fd00::1' }],
        notReadyAddresses: [{ ip: '10.0.0.2' }],
        ports,
      },
      { notReadyAddresses: [{ ip: '10.0.0.3' }], ports: [{ name: 'x', port: 1, protocol: 'UDP' }] },
    ];
    const [item] = read(endpointsJson(subsets)).items;
    const state = { terminating: false, zoneHints: [], nodeHints: [] };
    const ready = { ...state, ready: true, serving: true };
    const notReady = { ...state, ready: false, serving: false, nodeName: undefined };
    const common = { service: 'work/saythx-redis', fromEndpoints: true };
    const unnamed = [{ name: '', protocol: 'TCP', port: 6379 }];
    expect(item?.parsed).to.deep.equal({
      ok: {
        kind: 'Endpoints',
        slices: [
          {
            ...common,
            key: 'work/saythx-redis#0-IPv4',
            family: 'IPv4',
            ports: unnamed,
            endpoints: SliceEndpoints.of([
              { ...ready, address: '10.0.0.1', nodeName: 'node-a' },
              { ...notReady, address: '10.0.0.2' },
            ]),
          },
          {
            ...common,
            key: 'work/saythx-redis#0-IPv6',
            family: 'IPv6',
            ports: unnamed,
            endpoints: SliceEndpoints.of([{ ...ready, address: 'fd00::1', nodeName: undefined }]),
          },
          {
            ...common,
            key: 'work/saythx-redis#1-IPv4',
            family: 'IPv4',
            ports: [{ name: 'x', protocol: 'UDP', port: 1 }],
            endpoints: SliceEndpoints.of([{ ...notReady, address: '10.0.0.3' }]),
          },
        ],
      },
    });
  });

  it('makes no slices of headless or empty Endpoints (S3)', () => {
    const metadata = { name: 'db', labels: { 'service.kubernetes.io/headless': '' } };
    for (const json of [endpointsJson(null), endpointsJson([{ addresses: [{ ip: '10.0.0.1' }] }], { metadata })]) {
      expect(read(json).items[0]?.parsed).to.deep.equal({ ok: { kind: 'Endpoints', slices: [] } });
    }
  });

  for (const [title, subset, path] of [
    ['a subset without addresses', { ports: [{ port: 80 }] }, 'subsets[0].addresses'],
    ['a loopback address', { addresses: [{ ip: '127.0.0.1' }] }, 'subsets[0].addresses[0].ip'],
    ['an address that is none', { notReadyAddresses: [{ ip: 'localhost' }] }, 'subsets[0].notReadyAddresses[0].ip'],
    ['port 0', { addresses: [{ ip: '10.0.0.1' }], ports: [{ port: 0 }] }, 'subsets[0].ports[0].port'],
    [
      'an unnamed port beside another',
      { addresses: [{ ip: '10.0.0.1' }], ports: [{ name: 'a', port: 1 }, { port: 2 }] },
      'subsets[0].ports[1].name',
    ],
  ] as const) {
    it(`refuses ${title} (C2)`, () => {
      const [item] = read(endpointsJson([subset])).items;
      expect(item && pathsOf(item.parsed)).to.deep.equal([path]);
    });
  }
});

describe('reading a Node', () => {
  it('keeps its zone and its internal addresses (E4, E11)', () => {
    const json = nodeJson({
      metadata: { name: 'node-a', labels: { 'topology.kubernetes.io/zone': 'eu-1' } },
      status: {
        addresses: [
          { type: 'Hostname', address: 'node-a' },
          { type: 'InternalIP', address: '192.0.2.1' },
          { type: 'InternalIP', address: 'FD00::1' },
        ],
      },
    });
    const node = { name: 'node-a', zone: 'eu-1', internalIPs: ['192.0.2.1', 'fd00::1'], podCIDRs: [], eligible: true };
    expect(read(json).items[0]?.parsed).to.deep.equal({ ok: { kind: 'Node', node } });
  });

  for (const [title, over, eligible] of [
    ['being deleted', { metadata: { name: 'node-a', deletionTimestamp: '2026-01-01T00:00:00Z' } }, false],
    ['about to be removed', { spec: { taints: [{ key: 'ToBeDeletedByClusterAutoscaler' }] } }, false],
    ['with another taint', { spec: { taints: [{ key: 'node.kubernetes.io/not-ready' }] } }, true],
  ] as const) {
    it(`calls a Node ${title} ${eligible ? '' : 'not '}eligible (H2)`, () => {
      const parsed = read(nodeJson(over)).items[0]?.parsed;
      expect(parsed).to.have.nested.property('ok.node.eligible', eligible);
    });
  }

  it('reads the CIDRs of its pods, of one family or two', () => {
    for (const [spec, podCIDRs] of [
      [{ podCIDR: '10.244.1.0/24' }, ['10.244.1.0/24']],
      [{ podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24', 'fd00:1::/64'] }, ['10.244.1.0/24', 'fd00:1::/64']],
    ] as const) {
      expect(read(nodeJson({ spec })).items[0]?.parsed)
        .to.have.nested.property('ok.node.podCIDRs')
        .that.deep.equals(podCIDRs);
    }
  });

  it('does without zone and addresses', () => {
    const node = { name: 'node-a', zone: undefined, internalIPs: [], podCIDRs: [], eligible: true };
    expect(read(nodeJson()).items[0]?.parsed).to.deep.equal({ ok: { kind: 'Node', node } });
  });

  it('refuses a name or an address that is none (C2)', () => {
    const json = nodeJson({ metadata: { name: 'a b' }, status: { addresses: [{ type: 'InternalIP', address: 'x' }] } });
    const [item] = read(json).items;
    expect(item && pathsOf(item.parsed)).to.deep.equal(['metadata.name', 'status.addresses[0].address']);
  });
});

import { expect } from 'chai';
import { SliceEndpoints } from '../../../lib/model/slice-endpoints.js';
import { parseEndpointSlice } from '../../../lib/source/objects/endpoint-slice.js';
import { sliceJson } from './kube-json.js';
import { endpointsIn, linesOf, okOf, pathsOf } from './parsed.js';

const fromApi = { allowLoopback: false };

describe('reading an EndpointSlice', () => {
  it('keeps every field that is used (S3)', () => {
    const json = sliceJson({
      endpoints: [
        {
          addresses: ['10.244.1.11', 'ignored'],
          conditions: { ready: false, serving: true, terminating: true },
          nodeName: 'node-a.example',
          hints: { forZones: [{ name: 'eu-1' }], forNodes: [{ name: 'node-a.example' }] },
          targetRef: { kind: 'Pod' },
        },
      ],
    });
    expect(okOf(parseEndpointSlice(json, fromApi))).to.deep.equal({
      key: 'work/saythx-redis-1',
      service: 'work/saythx-redis',
      family: 'IPv4',
      ports: [{ name: 'redis', protocol: 'TCP', port: 6379 }],
      endpoints: SliceEndpoints.of([
        {
          address: '10.244.1.11',
          ready: false,
          serving: true,
          terminating: true,
          nodeName: 'node-a.example',
          zoneHints: ['eu-1'],
          nodeHints: ['node-a.example'],
        },
      ]),
      fromEndpoints: false,
    });
  });

  for (const [title, conditions] of [
    ['no conditions', undefined],
    ['null conditions', null],
    ['empty conditions', {}],
    ['conditions of null', { ready: null, serving: null, terminating: null }],
  ] as const) {
    it(`takes ${title} for ready, serving and not terminating (S4)`, () => {
      const json = sliceJson({ endpoints: [{ addresses: ['10.244.1.11'], conditions }] });
      const [endpoint] = endpointsIn(parseEndpointSlice(json, fromApi));
      expect(endpoint).to.include({ ready: true, serving: true, terminating: false });
    });
  }

  it('writes IPv6 addresses in one way', () => {
    const json = sliceJson({ addressType: 'IPv6', endpoints: [{ addresses: ['FD00:0:0::1'] }] });
    expect(endpointsIn(parseEndpointSlice(json, fromApi))[0]?.address).to.equal('fd00::1');
  });

  it('knows when its change happened, where its controller says so (H4)', () => {
    const at = (time: unknown) => {
      const annotations = { 'endpoints.kubernetes.io/last-change-trigger-time': time };
      return okOf(parseEndpointSlice(sliceJson({}, { annotations }), fromApi))?.triggeredAtMs;
    };
    expect(at('2026-01-02T03:04:05Z')).to.equal(Date.UTC(2026, 0, 2, 3, 4, 5));
    for (const none of ['soon', 5, null, {}]) expect(at(none)).to.equal(undefined);
  });

  it('takes a port without a name for the unnamed one, and TCP for no protocol, as the API server does', () => {
    for (const name of [undefined, null, '']) {
      const slice = okOf(parseEndpointSlice(sliceJson({ ports: [{ name, port: 80 }] }), fromApi));
      expect(slice?.ports).to.deep.equal([{ name: '', protocol: 'TCP', port: 80 }]);
    }
  });

  it('ignores a port without a number (S3)', () => {
    const ports = [{ name: 'all' }, { name: 'none', port: null }, { name: 'redis', port: 6379 }];
    const slice = okOf(parseEndpointSlice(sliceJson({ ports }), fromApi));
    expect(slice?.ports.map(({ name }) => name)).to.deep.equal(['redis']);
  });

  for (const [title, json] of [
    [
      'labelled headless',
      sliceJson({}, { labels: { 'kubernetes.io/service-name': 'db', 'service.kubernetes.io/headless': '' } }),
    ],
    ['of names instead of addresses', sliceJson({ addressType: 'FQDN', endpoints: [{ addresses: ['db.example'] }] })],
    ['of no Service', sliceJson({}, { labels: { app: 'db' } })],
    ['of a Service without a name', sliceJson({}, { labels: { 'kubernetes.io/service-name': '' } })],
    ['without labels', sliceJson({}, { labels: null })],
  ] as const) {
    it(`passes silently over a slice ${title} (S3)`, () => {
      expect(parseEndpointSlice(json, fromApi)).to.deep.equal({ ok: undefined });
    });
  }

  for (const address of [
    '0.0.0.0',
    '169.254.169.254',
    '224.0.0.1',
    '255.255.255.255',
    '10.244.1.011',
    'fd00::1',
    '',
    7,
    null,
  ]) {
    it(`refuses the endpoint address ${JSON.stringify(address)} (C2)`, () => {
      const json = sliceJson({ endpoints: [{ addresses: [address] }] });
      for (const allowLoopback of [false, true]) {
        expect(pathsOf(parseEndpointSlice(json, { allowLoopback }))).to.deep.equal(['endpoints[0].addresses[0]']);
      }
    });
  }

  for (const address of ['::', '::1', 'fe80::1', 'ff02::1', '::ffff:10.0.0.1', '10.244.1.11']) {
    it(`refuses the endpoint address ${address} in an IPv6 slice of the API (C2)`, () => {
      const json = sliceJson({ addressType: 'IPv6', endpoints: [{ addresses: [address] }] });
      expect(pathsOf(parseEndpointSlice(json, fromApi))).to.deep.equal(['endpoints[0].addresses[0]']);
    });
  }

  it('lets manifests, and never the API, name a backend on this host (C2)', () => {
    const json = sliceJson({ endpoints: [{ addresses: ['127.0.0.1'] }] });
    expect(endpointsIn(parseEndpointSlice(json, { allowLoopback: true }))[0]?.address).to.equal('127.0.0.1');
    expect(linesOf(parseEndpointSlice(json, fromApi))).to.deep.equal([
      'endpoints[0].addresses[0]: expected an IPv4 address that stands for one host, got "127.0.0.1" (loopback)',
    ]);
  });

  for (const [title, over, path] of [
    ['no address type', { addressType: undefined }, 'addressType'],
    ['an unknown address type', { addressType: 'IP' }, 'addressType'],
    ['an endpoint without addresses', { endpoints: [{ addresses: [] }] }, 'endpoints[0].addresses'],
    ['an endpoint whose addresses are missing', { endpoints: [{}] }, 'endpoints[0].addresses'],
    ['endpoints that are no list', { endpoints: {} }, 'endpoints'],
    ['an endpoint that is null', { endpoints: [null] }, 'endpoints[0]'],
    ['port 0', { ports: [{ port: 0 }] }, 'ports[0].port'],
    ['two ports of one name', { ports: [{ port: 80 }, { name: '', port: 81 }] }, 'ports[1].name'],
    [
      'a condition that is text',
      { endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: 'yes' } }] },
      'endpoints[0].conditions.ready',
    ],
    [
      'a node name with a slash',
      { endpoints: [{ addresses: ['10.0.0.1'], nodeName: 'a/b' }] },
      'endpoints[0].nodeName',
    ],
    [
      'a zone hint without a name',
      { endpoints: [{ addresses: ['10.0.0.1'], hints: { forZones: [{}] } }] },
      'endpoints[0].hints.forZones[0].name',
    ],
  ] as const) {
    it(`refuses ${title} (C2)`, () => {
      expect(pathsOf(parseEndpointSlice(sliceJson(over), fromApi))).to.deep.equal([path]);
    });
  }

  it('refuses a Service label that can be no Service (C2)', () => {
    const json = sliceJson({}, { labels: { 'kubernetes.io/service-name': 'a;reboot' } });
    expect(pathsOf(parseEndpointSlice(json, fromApi))).to.deep.equal(['metadata.labels["kubernetes.io/service-name"]']);
  });

  it('counts faults beyond twenty instead of naming each (C1)', () => {
    const endpoints = Array.from({ length: 1_000 }, () => ({ addresses: ['0.0.0.0'] }));
    const lines = linesOf(parseEndpointSlice(sliceJson({ endpoints }), fromApi));
    expect(lines).to.have.length(21);
    expect(lines.at(-1)).to.equal(': and 980 more faults');
  });

  it('freezes what it reads', () => {
    const slice = okOf(parseEndpointSlice(sliceJson(), fromApi));
    for (const part of [slice, slice?.ports, slice?.ports[0], slice?.endpoints]) expect(part).to.be.frozen;
  });

  it('reads 5,000 slices of 10 endpoints in well under a second', () => {
    const slices = Array.from({ length: 5_000 }, (_, index) => {
      const endpoints = Array.from({ length: 10 }, (_unused, at) => ({
        addresses: [`10.${index >> 8}.${index & 255}.${at + 1}`],
        nodeName: `node-${at}`,
        conditions: { ready: true, serving: true, terminating: false },
      }));
      return sliceJson({ endpoints }, { name: `slice-${index}` });
    });
    const startedAtMs = performance.now();
    let endpoints = 0;
    for (const slice of slices) endpoints += endpointsIn(parseEndpointSlice(slice, fromApi)).length;
    expect(endpoints).to.equal(50_000);
    expect(performance.now() - startedAtMs).to.be.below(1_000);
  });
});

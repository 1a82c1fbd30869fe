import { expect } from 'chai';
import fc from 'fast-check';
import { parseIp, scopeOf } from '../../../lib/config/address.js';
import { printable, quote, describe as say } from '../../../lib/source/objects/fault.js';
import { type KubeObject, parseObjects } from '../../../lib/source/objects/kube-object.js';
import { endpointsJson, nodeJson, serviceJson, sliceJson } from './kube-json.js';

const PRINTABLE = /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$/u;

const full = [
  serviceJson(
    {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.10',
      clusterIPs: ['10.96.0.10', 'fd00::10'],
      ports: [
        { name: 'redis', protocol: 'TCP', port: 6379, nodePort: 31269 },
        { name: 'dns', protocol: 'UDP', port: 53 },
      ],
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
      externalIPs: ['192.0.2.1'],
    },
    { status: { loadBalancer: { ingress: [{ ip: '203.0.113.7', ipMode: 'VIP' }] } } },
  ),
  sliceJson({
    endpoints: [
      { addresses: ['10.0.0.1'], conditions: { ready: true }, nodeName: 'a', hints: { forZones: [{ name: 'z' }] } },
    ],
  }),
  endpointsJson([{ addresses: [{ ip: '10.0.0.1', nodeName: 'a' }], ports: [{ name: 'x', port: 1 }] }]),
  nodeJson({ status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] } }),
];

/** A valid object with one of its values, at any depth, replaced by anything. */
const bent = fc.tuple(fc.constantFrom(...full), fc.nat(), fc.jsonValue()).map(([json, at, value]) => {
  let count = 0;
  const visit = (node: unknown): unknown => {
    if (count++ === at % 24) return value;
    if (Array.isArray(node)) return node.map(visit);
    if (typeof node !== 'object' || node === null) return node;
    return Object.fromEntries(Object.entries(node).map(([key, inner]) => [key, visit(inner)]));
  };
  return visit(json);
});

function addressesOf(object: KubeObject): readonly string[] {
  if (object.kind === 'Service')
    return [...object.service.clusterIPs, ...object.service.externalIPs, ...object.service.loadBalancerIPs];
  return object.kind === 'Node'
    ? []
    : object.slices.flatMap(({ endpoints }) => [...endpoints].map(({ address }) => address));
}

function portsOf(object: KubeObject): readonly number[] {
  if (object.kind === 'Service') return object.service.ports.flatMap(({ port, nodePort }) => [port, nodePort ?? port]);
  return object.kind === 'Node' ? [] : object.slices.flatMap(({ ports }) => ports.map(({ port }) => port));
}

describe('hostile objects', () => {
  it('never throws, and gives good values or faults, whatever the JSON (C2)', () => {
    const lists = fc.array(fc.oneof(bent, fc.jsonValue())).map((items) => ({ apiVersion: 'v1', kind: 'List', items }));
    fc.assert(
      fc.property(fc.oneof(bent, lists, fc.jsonValue()), (json) => {
        for (const { id, title, parsed } of parseObjects(json, { allowLoopback: false }).items) {
          expect(title).to.match(PRINTABLE);
          if ('faults' in parsed) {
            expect(parsed.faults).not.to.be.empty;
            for (const { message } of parsed.faults) expect(message).to.match(PRINTABLE);
            continue;
          }
          if ('slices' in parsed.ok && parsed.ok.slices.length === 0) continue;
          expect(id).to.match(/^(?:Node |(?:Service|EndpointSlice|Endpoints) [-a-z0-9]+\/)[-.a-z0-9]+$/);
          for (const address of addressesOf(parsed.ok)) {
            expect(parseIp(address)).to.equal(address);
            expect(scopeOf(address)).to.equal('unicast');
          }
          for (const port of portsOf(parsed.ok)) expect(port).to.be.within(1, 65_535);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('lets no key of the input reach a prototype (C2)', () => {
    const json: unknown = JSON.parse(
      '{"apiVersion":"v1","kind":"Service","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},' +
        '"metadata":{"name":"web","labels":{"__proto__":{"polluted":1}}},"spec":{"ports":[{"port":80,"__proto__":{"nodePort":7}}]}}',
    );
    const [item] = parseObjects(json, { allowLoopback: false }).items;
    expect(item?.parsed).to.have.nested.property('ok.service.ports[0].nodePort', undefined);
    expect({}).not.to.have.property('polluted');
  });

  it('does not read fields from the prototype of the input', () => {
    const json: unknown = JSON.parse('{"__proto__":{"apiVersion":"v1","kind":"Service"}}');
    expect(parseObjects(json, { allowLoopback: false }).items[0]?.title).to.equal('object');
  });

  for (const [title, text] of [
    ['a line break', 'a\nERROR forged'],
    ['a carriage return', 'a\rforged'],
    ['a terminal escape', '\u001b[2J\u009b31m'],
    ['a direction override', '\u202egnp.exe'],
    ['a line separator', 'a\u2028b'],
    ['an invisible tag character', 'a\u{e0041}'],
    ['half of a surrogate pair', 'a\ud800'],
  ] as const) {
    it(`quotes ${title} so that it forges no log line (C1)`, () => {
      expect(quote(text))
        .to.match(PRINTABLE)
        .and.to.match(/^".*\\.*"$/);
      expect(printable(text)).to.match(PRINTABLE);
    });
  }

  it('cuts long values (C1)', () => {
    expect(say('x'.repeat(1e6))).to.have.length.below(80);
    expect(printable('x'.repeat(1e6))).to.have.length.below(320);
  });

  it('names what is no text by its kind (C1)', () => {
    expect([undefined, null, 7, true, {}, [], [1]].map(say)).to.deep.equal([
      'nothing',
      'null',
      '7',
      'true',
      'an object',
      'an empty list',
      'a list',
    ]);
  });
});

import { expect } from 'chai';
import { parseService } from '../../../lib/source/objects/service.js';
import { serviceJson } from './kube-json.js';
import { linesOf, okOf, pathsOf } from './parsed.js';

describe('reading a Service', () => {
  it('fills in what the API server fills in', () => {
    expect(okOf(parseService({ metadata: { name: 'web' }, spec: { ports: [{ port: 80 }] } }))).to.deep.equal({
      key: 'default/web',
      namespace: 'default',
      name: 'web',
      type: 'ClusterIP',
      clusterIPs: [],
      headless: false,
      ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: undefined }],
      internalTrafficPolicy: 'Cluster',
      externalTrafficPolicy: 'Cluster',
      affinityTimeoutMs: undefined,
      externalIPs: [],
      loadBalancerIPs: [],
      loadBalancerSourceRanges: [],
      healthCheckNodePort: undefined,
      proxyName: undefined,
      createdAt: '',
    });
  });

  it('keeps every field that is used', () => {
    const json = serviceJson(
      {
        type: 'LoadBalancer',
        clusterIP: '10.96.0.10',
        clusterIPs: ['10.96.0.10', 'FD00:0::10'],
        ports: [
          { name: 'redis', port: 6379, nodePort: 31269, targetPort: 'redis' },
          { name: 'stats', port: 53, protocol: 'UDP', nodePort: 0 },
        ],
        internalTrafficPolicy: 'Local',
        externalTrafficPolicy: 'Local',
        sessionAffinity: 'ClientIP',
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
        externalIPs: ['192.0.2.1', '192.0.2.1'],
        loadBalancerSourceRanges: [' 198.51.100.0/24 ', 'FD00:51::/48', '198.51.100.0/24'],
        healthCheckNodePort: 32100,
      },
      {
        metadata: {
          name: 'saythx-redis',
          namespace: 'work',
          creationTimestamp: '2024-05-01T10:00:00Z',
          labels: { 'service.kubernetes.io/service-proxy-name': 'other', app: 'redis' },
        },
        status: {
          loadBalancer: {
            ingress: [{ ip: '203.0.113.7' }, { ip: '203.0.113.8', ipMode: 'Proxy' }, { hostname: 'lb.example' }],
          },
        },
      },
    );
    expect(okOf(parseService(json))).to.deep.equal({
      key: 'work/saythx-redis',
      namespace: 'work',
      name: 'saythx-redis',
      type: 'LoadBalancer',
      clusterIPs: ['10.96.0.10', 'fd00::10'],
      headless: false,
      ports: [
        { name: 'redis', protocol: 'TCP', port: 6379, nodePort: 31269 },
        { name: 'stats', protocol: 'UDP', port: 53, nodePort: undefined },
      ],
      internalTrafficPolicy: 'Local',
      externalTrafficPolicy: 'Local',
      affinityTimeoutMs: 60_000,
      externalIPs: ['192.0.2.1'],
      loadBalancerIPs: ['203.0.113.7'],
      loadBalancerSourceRanges: ['198.51.100.0/24', 'fd00:51::/48'],
      healthCheckNodePort: 32100,
      proxyName: 'other',
      createdAt: '2024-05-01T10:00:00Z',
    });
  });

  it('refuses a source range that is none (E8, C2)', () => {
    const json = serviceJson({ loadBalancerSourceRanges: ['198.51.100.0/33'] });
    expect(pathsOf(parseService(json))).to.deep.equal(['spec.loadBalancerSourceRanges[0]']);
  });

  for (const [title, spec] of [
    ['with policy Cluster', { type: 'LoadBalancer', externalTrafficPolicy: 'Cluster', healthCheckNodePort: 32_100 }],
    ['of type NodePort', { type: 'NodePort', externalTrafficPolicy: 'Local', healthCheckNodePort: 32_100 }],
    ['where it is 0', { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 0 }],
  ] as const) {
    it(`takes no health check node port ${title} (H1)`, () => {
      expect(okOf(parseService(serviceJson(spec))).healthCheckNodePort).to.equal(undefined);
    });
  }

  it('takes null for a field that is not there, as the API does', () => {
    const spec = { clusterIP: null, clusterIPs: null, type: null, sessionAffinity: null, externalIPs: null };
    const metadata = { name: 'web', namespace: null, creationTimestamp: null, labels: null };
    const value = okOf(parseService(serviceJson(spec, { metadata, status: null })));
    expect(value).to.include({ key: 'default/web', type: 'ClusterIP', createdAt: '' });
  });

  it('keeps clients to one endpoint for three hours where no time is said (B2)', () => {
    expect(okOf(parseService(serviceJson({ sessionAffinity: 'ClientIP' })))).to.have.property(
      'affinityTimeoutMs',
      10_800_000,
    );
  });

  it('takes clusterIP where there is no list of them (S2)', () => {
    expect(okOf(parseService(serviceJson({ clusterIP: '10.96.0.10' }))).clusterIPs).to.deep.equal(['10.96.0.10']);
  });

  it('knows a headless Service, which may be without ports (S1)', () => {
    for (const spec of [{ clusterIP: 'None' }, { clusterIPs: ['None'] }, { clusterIP: 'None', ports: [] }]) {
      expect(okOf(parseService(serviceJson(spec)))).to.deep.include({ headless: true, clusterIPs: [] });
    }
  });

  it('asks no ports of an ExternalName Service (S1)', () => {
    const value = okOf(parseService(serviceJson({ type: 'ExternalName', externalName: 'db.example', ports: null })));
    expect(value).to.deep.include({ type: 'ExternalName', headless: false, clusterIPs: [], ports: [] });
  });

  it('gives no frontend to a load-balancer address that stands for no one host (E9)', () => {
    const ingress = ['127.0.0.1', '0.0.0.0', '224.0.0.1', '169.254.169.254', ''].map((ip) => ({ ip }));
    const json = serviceJson({ type: 'LoadBalancer' }, { status: { loadBalancer: { ingress } } });
    expect(okOf(parseService(json)).loadBalancerIPs).to.deep.equal([]);
  });

  it('keeps SCTP ports, for them to be reported (S6)', () => {
    const value = okOf(parseService(serviceJson({ ports: [{ port: 80, protocol: 'SCTP' }] })));
    expect(value.ports[0]?.protocol).to.equal('SCTP');
  });

  it('writes creation times as UTC, so that ages compare as text (C2)', () => {
    const metadata = { name: 'web', creationTimestamp: '2024-05-01T01:00:00+02:00' };
    expect(okOf(parseService(serviceJson({}, { metadata }))).createdAt).to.equal('2024-04-30T23:00:00.000Z');
  });

  it('lets one port number serve two protocols', () => {
    const ports = [
      { name: 'dns', port: 53, protocol: 'UDP', nodePort: 30053 },
      { name: 'dns-tcp', port: 53, protocol: 'TCP', nodePort: 30053 },
    ];
    expect(linesOf(parseService(serviceJson({ type: 'NodePort', ports })))).to.deep.equal([]);
  });

  it('freezes what it reads', () => {
    const value = okOf(parseService(serviceJson({ clusterIP: '10.96.0.10' })));
    for (const part of [value, value.ports, value.ports[0], value.clusterIPs, value.externalIPs]) {
      expect(part).to.be.frozen;
    }
  });

  it('names every fault of one Service at once (C1)', () => {
    const json = serviceJson(
      {
        type: 'NodPort',
        ports: [
          { name: 'redis', port: 0 },
          { name: 'redis', port: '80' },
        ],
        externalIPs: ['10.0.0.300'],
      },
      { metadata: { name: 'Web', namespace: 'a/b' } },
    );
    expect(linesOf(parseService(json))).to.have.members([
      'metadata.name: expected a name of lower-case letters, digits and inner dashes, at most 63 long, got "Web"',
      'metadata.namespace: expected a name of lower-case letters, digits and inner dashes, at most 63 long, got "a/b"',
      'spec.type: expected one of ClusterIP, NodePort, LoadBalancer, ExternalName, got "NodPort"',
      'spec.ports[0].port: expected a port from 1 to 65535, got 0',
      'spec.ports[1].port: expected a port from 1 to 65535, got "80"',
      'spec.ports[1].name: expected one that no other port has, got "redis" as in spec.ports[0]',
      'spec.externalIPs[0]: expected an IP address, got "10.0.0.300"',
    ]);
  });

  const one = { name: 'a', port: 80 };
  const two = { name: 'b', port: 81 };
  for (const [title, spec, path] of [
    ['no ports', { ports: [] }, 'spec.ports'],
    ['ports that are missing', { ports: undefined }, 'spec.ports'],
    ['ports that are no list', { ports: { port: 80 } }, 'spec.ports'],
    ['port 65536', { ports: [{ port: 65_536 }] }, 'spec.ports[0].port'],
    ['a port with a fraction', { ports: [{ port: 80.5 }] }, 'spec.ports[0].port'],
    ['an unknown protocol', { ports: [{ port: 80, protocol: 'tcp' }] }, 'spec.ports[0].protocol'],
    ['a port name with capitals', { ports: [{ port: 80, name: 'HTTP' }] }, 'spec.ports[0].name'],
    ['an unnamed port beside another', { ports: [one, { port: 81 }] }, 'spec.ports[1].name'],
    ['two ports with one number', { ports: [one, { name: 'b', port: 80 }] }, 'spec.ports[1].port'],
    ['a negative node port', { type: 'NodePort', ports: [{ port: 80, nodePort: -1 }] }, 'spec.ports[0].nodePort'],
    ['a node port without type NodePort', { ports: [{ port: 80, nodePort: 30_080 }] }, 'spec.ports[0].nodePort'],
    [
      'two ports with one node port',
      {
        type: 'NodePort',
        ports: [
          { ...one, nodePort: 30_080 },
          { ...two, nodePort: 30_080 },
        ],
      },
      'spec.ports[1].nodePort',
    ],
    ['three cluster IPs (S2)', { clusterIPs: ['10.0.0.1', 'fd00::1', 'fd00::2'] }, 'spec.clusterIPs'],
    ['two cluster IPs of one family (S2)', { clusterIPs: ['10.0.0.1', '10.0.0.2'] }, 'spec.clusterIPs[1]'],
    ['an address beside None', { clusterIPs: ['None', '10.0.0.1'] }, 'spec.clusterIPs'],
    [
      'a clusterIP that is not the first of the list',
      { clusterIP: '10.0.0.2', clusterIPs: ['10.0.0.1'] },
      'spec.clusterIPs[0]',
    ],
    ['a headless NodePort', { type: 'NodePort', clusterIP: 'None' }, 'spec.clusterIP'],
    ['a cluster IP of this host', { clusterIP: '127.0.0.1' }, 'spec.clusterIP'],
    ['an IPv4-mapped cluster IP', { clusterIP: '::ffff:10.0.0.1' }, 'spec.clusterIP'],
    ['an octal address', { clusterIP: '010.0.0.1' }, 'spec.clusterIP'],
    ['an external IP of this host', { externalIPs: ['127.0.0.1'] }, 'spec.externalIPs[0]'],
    ['a link-local external IP', { externalIPs: ['169.254.169.254'] }, 'spec.externalIPs[0]'],
    ['a multicast external IP', { externalIPs: ['ff02::1'] }, 'spec.externalIPs[0]'],
    ['an unknown affinity', { sessionAffinity: 'clientip' }, 'spec.sessionAffinity'],
    ['an unknown traffic policy', { externalTrafficPolicy: 'Nearby' }, 'spec.externalTrafficPolicy'],
    [
      'an affinity of no time',
      { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 0 } } },
      'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
    ],
    [
      'an affinity longer than a day',
      { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 86_401 } } },
      'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
    ],
  ] as const) {
    it(`refuses ${title} (C2)`, () => {
      expect(pathsOf(parseService(serviceJson(spec)))).to.deep.equal([path]);
    });
  }

  for (const name of [
    '',
    '-a',
    'a-',
    'a.b',
    'a_b',
    'a b',
    'a\n',
    'a;reboot',
    '$(reboot)',
    '../etc',
    'x'.repeat(64),
    'ä',
    '__proto__',
  ]) {
    it(`refuses the name ${JSON.stringify(name)} (C2)`, () => {
      expect(pathsOf(parseService(serviceJson({}, { metadata: { name } })))).to.deep.equal(['metadata.name']);
      expect(pathsOf(parseService(serviceJson({ ports: [{ port: 80, name: name || '-' }] })))).to.deep.equal([
        'spec.ports[0].name',
      ]);
    });
  }
});

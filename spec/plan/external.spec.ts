import { expect } from 'chai';
import { unpackBackends } from '../../lib/model/backend.js';
import type { Service } from '../../lib/model/objects.js';
import { planService } from '../../lib/plan/plan-service.js';
import type { Destination, View } from '../../lib/plan/service-plan.js';
import { redisService, redisSlice } from '../support/objects.js';

const OWN = 'work/saythx-redis:redis/TCP';
const view: View = {
  nodeName: 'node-a',
  zone: undefined,
  serviceProxyName: undefined,
  nodePortHosts: (family) => [family === 'IPv4' ? '0.0.0.0' : '::'],
  redirectHost: (family) => (family === 'IPv4' ? '192.168.77.1' : undefined),
  holderOf: () => 'work/saythx-redis',
};
const here = '10.244.1.11';
const there = { address: '10.244.2.12', nodeName: 'node-b' };

const publicService = (over: Partial<Service> = {}) =>
  redisService({ type: 'LoadBalancer', externalIPs: ['198.51.100.7'], loadBalancerIPs: ['203.0.113.7'], ...over });

/** The group of the listener (`internal`, `external`, `cluster`), or what becomes of clients instead. */
function leads(to: Destination | undefined): string | undefined {
  return to?.kind === 'listener' ? to.key.replace(`${OWN}@`, '').replace('/192.168.77.1', '') : to?.kind;
}

function plan(service: Service, endpoints: Parameters<typeof redisSlice>[0], over: Partial<View> = {}) {
  const made = planService(service, [redisSlice(endpoints)], { ...view, ...over });
  const frontends = made.redirects.map(({ frontend, to, inside }) => [frontend.address, leads(to), leads(inside)]);
  const listeners = made.listeners.map(({ key, backends }) => [
    leads({ kind: 'listener', key }),
    ...unpackBackends(backends).map(({ host }) => host),
  ]);
  return { frontends, listeners, made };
}

describe('external frontends', () => {
  it('share one listener under externalTrafficPolicy (E3)', () => {
    const { frontends, listeners } = plan(publicService(), [here, there]);
    expect(frontends).to.deep.equal([
      ['10.96.0.10', 'internal', undefined],
      ['198.51.100.7', 'external', undefined],
      ['203.0.113.7', 'external', undefined],
    ]);
    expect(listeners).to.deep.equal([
      ['internal', here, there.address],
      ['external', here, there.address],
      ['0.0.0.0:31269', here, there.address],
    ]);
  });

  it('send those outside to local endpoints and those inside to all, with policy Local (E2, E7)', () => {
    const { frontends, listeners } = plan(publicService({ externalTrafficPolicy: 'Local' }), [here, there]);
    expect(frontends.slice(1)).to.deep.equal([
      ['198.51.100.7', 'external', 'internal'],
      ['203.0.113.7', 'external', 'internal'],
    ]);
    expect(listeners).to.deep.equal([
      ['internal', here, there.address],
      ['external', here],
      ['0.0.0.0:31269', here],
    ]);
  });

  it('give those inside a listener of their own where the cluster IP is Local too (E3, E7)', () => {
    const both = publicService({ externalTrafficPolicy: 'Local', internalTrafficPolicy: 'Local' });
    const { frontends, listeners } = plan(both, [here, there]);
    expect(frontends[1]).to.deep.equal(['198.51.100.7', 'external', 'cluster']);
    expect(listeners).to.deep.include(['cluster', here, there.address]);
    expect(listeners).to.deep.include(['internal', here]);
  });

  it('drop those outside and serve those inside where every endpoint is elsewhere; so does the node port (E6, E7)', () => {
    const { frontends } = plan(publicService({ externalTrafficPolicy: 'Local' }), [there]);
    expect(frontends).to.deep.equal([
      ['10.96.0.10', 'internal', undefined],
      ['198.51.100.7', 'drop', 'internal'],
      ['203.0.113.7', 'drop', 'internal'],
      ['0.0.0.0', 'drop', undefined],
    ]);
  });

  it('refuse everybody where there is no endpoint at all, with policy Local too (E5)', () => {
    const { frontends } = plan(publicService({ externalTrafficPolicy: 'Local' }), []);
    expect(frontends).to.deep.equal([
      ['10.96.0.10', 'reject', undefined],
      ['198.51.100.7', 'reject', 'reject'],
      ['203.0.113.7', 'reject', 'reject'],
    ]);
  });

  it('are not there where nothing can be redirected, nor is the drop of the node port (E6)', () => {
    const none = { redirectHost: () => undefined };
    const { frontends, listeners } = plan(publicService({ externalTrafficPolicy: 'Local' }), [there], none);
    expect(frontends).to.deep.equal([]);
    expect(listeners).to.deep.equal([['0.0.0.0:31269']]);
  });

  it('work without a node port (E10)', () => {
    const ports = [{ name: 'redis', protocol: 'TCP', port: 6379, nodePort: undefined }] as const;
    const { frontends, listeners } = plan(publicService({ ports }), [here]);
    expect(frontends.map(([address]) => address)).to.include('203.0.113.7');
    expect(listeners.map(([group]) => group)).to.deep.equal(['internal', 'external']);
  });

  it('that are both external IP and load-balancer IP are one, without source ranges', () => {
    const same = { externalIPs: ['203.0.113.7'], loadBalancerSourceRanges: ['198.51.100.0/24'] };
    const { made } = plan(publicService(same), [here]);
    const [, ...external] = made.redirects;
    expect(external.map(({ frontend, allowed }) => [frontend.address, allowed])).to.deep.equal([
      ['203.0.113.7', undefined],
    ]);
  });

  it('obey source ranges on load-balancer IPs alone, by family (E8)', () => {
    const ranges = { loadBalancerSourceRanges: ['198.51.100.0/24', 'fd00:51::/48'] };
    const { made } = plan(publicService(ranges), [here]);
    expect(made.redirects.map(({ frontend, allowed }) => [frontend.address, allowed])).to.deep.equal([
      ['10.96.0.10', undefined],
      ['198.51.100.7', undefined],
      ['203.0.113.7', { cidrs: ['198.51.100.0/24'], node: false }],
    ]);
  });

  it('let the node itself in where its address is in a source range (E8)', () => {
    const { made } = plan(publicService({ loadBalancerSourceRanges: ['192.168.0.0/16'] }), [here]);
    expect(made.redirects[2]?.allowed).to.deep.equal({ cidrs: ['192.168.0.0/16'], node: true });
  });

  it('are open to a family that no source range names, as with kube-proxy (E8)', () => {
    const { made } = plan(publicService({ loadBalancerSourceRanges: ['fd00:51::/48'] }), [here]);
    expect(made.redirects[2]?.allowed).to.equal(undefined);
  });
});

describe('the health check of a load balancer (H1)', () => {
  const service = publicService({ externalTrafficPolicy: 'Local', healthCheckNodePort: 32_100 });

  it('counts ready endpoints on this node, each pod once', () => {
    const waiting = { address: '10.244.1.13', ready: false };
    const asked = { port: 32_100, hosts: ['0.0.0.0'] };
    expect(plan(service, [here, there, waiting]).made.healthCheck).to.deep.equal({ ...asked, localEndpoints: 1 });
    expect(plan(service, [there]).made.healthCheck).to.deep.equal({ ...asked, localEndpoints: 0 });
  });

  it('is not there where the Service has none, or another one has its port (C2)', () => {
    expect(plan(publicService(), [here]).made.healthCheck).to.equal(undefined);
    const other = (key: string) => (key === 'nodePort:32100/TCP' ? 'work/older' : 'work/saythx-redis');
    const { made } = plan(service, [here], { holderOf: other });
    expect(made.healthCheck).to.equal(undefined);
    expect(made.notes).to.deep.equal(['nodePort:32100/TCP is not served: Service work/older had it first']);
  });
});

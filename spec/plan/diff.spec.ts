import { expect } from 'chai';
import { packBackends } from '../../lib/model/backend.js';
import { diffPlans, missingBackends } from '../../lib/plan/diff.js';
import {
  type Destination,
  emptyPlan,
  type PlannedListener,
  type PlannedRedirect,
  type ServicePlan,
} from '../../lib/plan/service-plan.js';

function listener(key: string, hosts: readonly string[], affinityTimeoutMs?: number): PlannedListener {
  const servicePort = { namespace: 'work', service: 'saythx-redis', port: 'redis', protocol: 'TCP' } as const;
  const at = { kind: 'redirect', host: '192.168.77.1' } as const;
  return {
    key,
    servicePort,
    family: 'IPv4',
    at,
    affinityTimeoutMs,
    backends: packBackends(hosts.map((host) => ({ host, port: 1 }))),
  };
}

function redirect(address: string, to: string | undefined): PlannedRedirect {
  const destination: Destination = to === undefined ? { kind: 'reject' } : { kind: 'listener', key: to };
  return {
    frontend: { address, port: 80, protocol: 'TCP' },
    owner: 'work/saythx-redis:redis/TCP',
    listener: 'a',
    to: destination,
  };
}

function plan(listeners: readonly PlannedListener[], redirects: readonly PlannedRedirect[] = []): ServicePlan {
  return { ...emptyPlan, listeners, redirects };
}

describe('diffPlans', () => {
  const none = { open: [], update: [], close: [], redirect: [], unredirect: [] };

  it('finds nothing between equal plans, whatever the order of backends (R1)', () => {
    const before = plan([listener('a', ['1', '2'])], [redirect('10.96.0.10', 'a')]);
    const after = plan([listener('a', ['2', '1'])], [redirect('10.96.0.10', 'a')]);
    expect(diffPlans(before, after)).to.deep.equal(none);
  });

  it('opens what is new and closes what is gone', () => {
    const [a, b] = [listener('a', ['1']), listener('b', ['1'])];
    expect(diffPlans(plan([a]), plan([b]))).to.deep.equal({ ...none, open: [b], close: [a] });
  });

  it('updates a listener whose backends or affinity changed', () => {
    const before = listener('a', ['1']);
    for (const after of [listener('a', ['2']), listener('a', ['1', '2']), listener('a', []), listener('a', ['1'], 5)]) {
      expect(diffPlans(plan([before]), plan([after]))).to.deep.equal({ ...none, update: [{ before, after }] });
    }
  });

  it('sets a redirect that is new or leads elsewhere, and removes one that is gone', () => {
    const before = plan([], [redirect('10.96.0.10', 'a'), redirect('10.96.0.11', 'a'), redirect('10.96.0.12', 'a')]);
    const after = plan(
      [],
      [redirect('10.96.0.10', 'a'), redirect('10.96.0.11', undefined), redirect('10.96.0.13', 'a')],
    );
    expect(diffPlans(before, after)).to.deep.equal({
      ...none,
      redirect: [redirect('10.96.0.11', undefined), redirect('10.96.0.13', 'a')],
      unredirect: ['10.96.0.12:80/TCP'],
    });
  });
});

describe('missingBackends', () => {
  it('tells a port from an address', () => {
    expect(missingBackends('10.0.0.1:11', '10.0.0.11:1')).to.deep.equal(['10.0.0.1:11']);
  });
});

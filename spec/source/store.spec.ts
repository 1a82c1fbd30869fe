import { expect } from 'chai';
import { ObjectStore } from '../../lib/source/store.js';
import { redisService, redisSlice } from '../support/objects.js';

/** A store, and what its listener was told. */
function watchedStore() {
  const store = new ObjectStore();
  const told: string[] = [];
  store.subscribe({
    serviceChanged: (service, kind) => {
      const addresses = store
        .slicesOf(service)
        .flatMap(({ endpoints }) => [...endpoints].map(({ address }) => address));
      told.push(`${kind} ${service} ${addresses.join(' ')}`.trimEnd());
    },
    nodeChanged: () => told.push('node'),
    synced: () => told.push('synced'),
  });
  return { store, told };
}

const node = { name: 'node-a', zone: undefined, internalIPs: [], podCIDRs: [], eligible: true };

describe('the object store', () => {
  it('marks only the Service that changed', () => {
    const { store, told } = watchedStore();
    store.setService(redisService());
    store.setService(redisService({ name: 'other' }));
    store.setSlice(redisSlice(['10.0.0.1']));
    store.deleteService('work/other');
    expect(told).to.deep.equal([
      'service work/saythx-redis',
      'service work/other',
      'endpoints work/saythx-redis 10.0.0.1',
      'service work/other',
    ]);
  });

  it('marks nothing where an object is set again as it was', () => {
    const { store, told } = watchedStore();
    const fill = () => {
      store.setService(redisService());
      store.setSlice(redisSlice(['10.0.0.1']));
      store.setNode({ ...node });
    };
    fill();
    told.length = 0;
    fill();
    expect(told).to.deep.equal([]);
  });

  it('marks both Services when a slice goes from one to the other (S3)', () => {
    const { store, told } = watchedStore();
    store.setSlice(redisSlice(['10.0.0.1']));
    told.length = 0;
    store.setSlice(redisSlice(['10.0.0.1'], { service: 'work/other' }));
    expect(told).to.deep.equal(['endpoints work/saythx-redis', 'endpoints work/other 10.0.0.1']);
  });

  it('uses slices made from Endpoints only where there are no others (S3)', () => {
    const { store } = watchedStore();
    const fromEndpoints = redisSlice(['10.0.0.9'], { key: 'work/saythx-redis#0-IPv4', fromEndpoints: true });
    const own = redisSlice(['10.0.0.1']);
    store.setSlice(fromEndpoints);
    expect(store.slicesOf('work/saythx-redis')).to.deep.equal([fromEndpoints]);
    store.setSlice(own);
    expect(store.slicesOf('work/saythx-redis')).to.deep.equal([own]);
    store.deleteSlice(own.key);
    expect(store.slicesOf('work/saythx-redis')).to.deep.equal([fromEndpoints]);
  });

  it('shows an endpoint that moves between two slices of a batch in no moment missing (S5)', () => {
    const { store, told } = watchedStore();
    store.setSlice(redisSlice(['10.0.0.1', '10.0.0.2'], { key: 'work/a' }));
    store.setSlice(redisSlice(['10.0.0.3'], { key: 'work/b' }));
    told.length = 0;
    const changes = store.batch(() => {
      store.setSlice(redisSlice(['10.0.0.1'], { key: 'work/a' }));
      store.setSlice(redisSlice(['10.0.0.2', '10.0.0.3'], { key: 'work/b' }));
      expect(told).to.deep.equal([]);
    });
    expect(changes).to.equal(2);
    expect(told).to.deep.equal(['endpoints work/saythx-redis 10.0.0.1 10.0.0.2 10.0.0.3']);
  });

  it('tells of a batch once for each Service and kind, an inner batch with the outer', () => {
    const { store, told } = watchedStore();
    store.batch(() => {
      store.setService(redisService());
      const inner = store.batch(() => {
        store.setSlice(redisSlice(['10.0.0.1']));
        store.setSlice(redisSlice(['10.0.0.2'], { key: 'work/b' }));
        store.setNode(node);
        store.deleteNode('node-b');
      });
      expect(inner).to.equal(3);
      expect(told).to.deep.equal([]);
    });
    expect(told).to.deep.equal([
      'service work/saythx-redis 10.0.0.1 10.0.0.2',
      'endpoints work/saythx-redis 10.0.0.1 10.0.0.2',
      'node',
    ]);
  });

  it('tells what a batch did before it failed', () => {
    const { store, told } = watchedStore();
    const failing = () =>
      store.batch(() => {
        store.setService(redisService());
        throw new Error('half way');
      });
    expect(failing).to.throw('half way');
    expect(told).to.deep.equal(['service work/saythx-redis']);
    store.setNode(node);
    expect(told.at(-1)).to.equal('node');
  });

  it('says once that it is synced, also to who comes later (Y1)', () => {
    const { store, told } = watchedStore();
    store.markSynced();
    store.markSynced();
    let late = 0;
    store.subscribe({ serviceChanged: () => undefined, nodeChanged: () => undefined, synced: () => late++ });
    expect([told, late]).to.deep.equal([['synced'], 1]);
  });
});

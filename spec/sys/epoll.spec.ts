import { expect } from 'chai';
import * as k from '../../lib/sys/constants.js';
import { nativeFault } from '../support/native.js';

describe('Epoll', () => {
  let libc: typeof import('../../lib/sys/libc.js');
  let memory: InstanceType<typeof import('../../lib/sys/memory.js')['Memory']>;
  let epoll: InstanceType<typeof import('../../lib/sys/epoll.js')['Epoll']>;
  const open: number[] = [];

  before(async function () {
    nativeFault(this);
    libc = await import('../../lib/sys/libc.js');
    memory = new (await import('../../lib/sys/memory.js')).Memory(16);
    memory.setPointer(0, 1);
  });

  beforeEach(async () => {
    const { Epoll } = await import('../../lib/sys/epoll.js');
    epoll = new Epoll(8);
  });

  afterEach(() => {
    for (const fd of open.splice(0)) libc.close(fd);
    epoll.close();
  });

  function ready(): number {
    const fd = libc.must('eventfd', libc.eventfd(1, k.EFD_NONBLOCK | k.EFD_CLOEXEC));
    open.push(fd);
    return fd;
  }

  it('reports each descriptor with its own id and generation', () => {
    for (let id = 1; id <= 3; id++) epoll.add(ready(), k.EPOLLIN, id << 20, id + 0x7ffffff0);
    expect(epoll.wait(0)).to.equal(3);
    const seen = [0, 1, 2].map((i) => [epoll.id(i), epoll.generation(i), epoll.events(i)]);
    expect(seen.sort()).to.deep.equal([1, 2, 3].map((id) => [id << 20, id + 0x7ffffff0, k.EPOLLIN]));
  });

  it('reports nothing within the time where nothing happens', () => {
    expect(epoll.wait(1)).to.equal(0);
  });

  it('reports an edge once', () => {
    epoll.add(ready(), k.EPOLLIN | k.EPOLLET, 1, 1);
    expect(epoll.wait(0)).to.equal(1);
    expect(epoll.wait(0)).to.equal(0);
  });

  it('says why a descriptor cannot be watched', () => {
    expect(epoll.add(-1, k.EPOLLIN, 1, 1)).to.equal(-1);
    expect(libc.errno()).to.equal(9);
  });

  it('forgets a descriptor that is removed', () => {
    const fd = ready();
    epoll.add(fd, k.EPOLLIN, 1, 1);
    expect(epoll.remove(fd)).to.equal(0);
    expect(epoll.wait(0)).to.equal(0);
  });
});

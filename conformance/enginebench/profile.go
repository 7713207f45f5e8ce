package enginebench

import (
	"errors"
	"os"
	"runtime"
	"runtime/pprof"
)

// profiled runs fn under the profiles that were asked for.
func (b *bench) profiled(name string, fn func() error) (err error) {
	if path := b.profilePath(b.opts.cpuProfile, name); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return errors.Join(err, f.Close())
		}
		err = fn()
		pprof.StopCPUProfile()
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	} else if err := fn(); err != nil {
		return err
	}
	path := b.profilePath(b.opts.memProfile, name)
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	runtime.GC() // brings the profile up to date
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}

func (b *bench) profilePath(path, name string) string {
	if path == "" || len(b.opts.scenarios) == 1 {
		return path
	}
	return path + "." + name
}

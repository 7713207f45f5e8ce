package enginebench

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/stabilize-dev/go-stabilize/persistence"
	"github.com/stabilize-dev/go-stabilize/queue"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

// mongoLimit is one compare-and-set of one document for all the writes of one step:
// version, two stages and the message are in the document of the workflow. A group is
// as many unordered commands as the store would send, all at once.
type mongoLimit struct {
	mongoWriter

	crowd []*mongoWriter

	// bodies are encoded before: the limit is that of writing.
	bodies  map[string]string // by stage id
	message string
}

// rawStatements is how many updates one command has at most, as those of the store.
const rawStatements = 50

// mongoWriter has workflows of its own.
type mongoWriter struct {
	limit *mongoLimit
	coll  *mongo.Collection
	work  rawSteps
}

func openMongoLimit(ctx context.Context, coll *mongo.Collection) (limit, error) {
	now := stabilize.SystemClock{}.Now()
	l := &mongoLimit{bodies: map[string]string{}}
	alone, all := rawWorkflows(now), rawWorkflows(now)
	others := coll.Database().Collection(coll.Name() + "_crowd")
	l.mongoWriter = mongoWriter{limit: l, coll: coll, work: rawSteps{workflows: alone}}
	for i := range rawConnections {
		each := rawGroup / rawConnections
		l.crowd = append(l.crowd, &mongoWriter{limit: l, coll: others, work: rawSteps{workflows: all[i*each : (i+1)*each]}})
	}
	err := l.fill(ctx, coll, alone)
	if err == nil {
		err = l.fill(ctx, others, all)
	}
	if err != nil {
		return nil, fmt.Errorf("raw limit: %w", err)
	}
	return l, nil
}

// fill stores what the first steps find.
func (l *mongoLimit) fill(ctx context.Context, coll *mongo.Collection, workflows []*stabilize.Workflow) error {
	var docs []any
	for _, w := range workflows {
		stages := bson.D{}
		for i, s := range w.Stages {
			body, err := persistence.EncodeStage(s)
			if err != nil {
				return err
			}
			l.bodies[s.ID] = string(body)
			stages = append(stages, bson.E{Key: s.ID, Value: l.bodies[s.ID]})
			if i > 0 {
				continue
			}
			if body, err = queue.Encode(queue.RunTask{OfTask: queue.ToTask(w.ID, s.ID, s.Tasks[0].ID)}); err != nil {
				return err
			}
			l.message = string(body)
		}
		docs = append(docs, bson.D{
			{Key: "_id", Value: w.ID}, {Key: "version", Value: int64(1)}, {Key: "stages", Value: stages},
			{Key: "message", Value: bson.D{{Key: "id", Value: rawMessage(w, 0)}, {Key: "body", Value: l.message}}},
		})
	}
	_, err := coll.InsertMany(ctx, docs)
	return err
}

// single implements crowd.
func (l *mongoLimit) single(ctx context.Context, n int) error {
	return atOnce(len(l.crowd), func(i int) error {
		return l.crowd[i].steps(ctx, (n+i)/len(l.crowd), 1) // they add up to n
	})
}

// atOnce calls f for 0 to n-1, all at once, and joins the errors.
func atOnce(n int, f func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (w *mongoWriter) steps(ctx context.Context, n, size int) error {
	for n > 0 {
		group := min(n, size)
		models := make([]mongo.WriteModel, group)
		for i := range models {
			models[i] = w.next()
		}
		const most = rawStatements
		if err := atOnce((group+most-1)/most, func(i int) error {
			return w.send(ctx, models[i*most:min((i+1)*most, group)])
		}); err != nil {
			return err
		}
		n -= group
	}
	return nil
}

// next is the update of the next step.
func (w *mongoWriter) next() mongo.WriteModel {
	s := w.work.step()
	set := bson.D{
		{Key: "version", Value: s.version + 1},
		{Key: "message", Value: bson.D{{Key: "id", Value: s.new}, {Key: "body", Value: w.limit.message}}},
	}
	for _, st := range s.stages {
		set = append(set, bson.E{Key: "stages." + st.ID, Value: w.limit.bodies[st.ID]})
	}
	return mongo.NewUpdateOneModel().
		SetFilter(bson.D{{Key: "_id", Value: s.workflow.ID}, {Key: "version", Value: s.version}}).
		SetUpdate(bson.D{{Key: "$set", Value: set}})
}

func (w *mongoWriter) send(ctx context.Context, models []mongo.WriteModel) error {
	res, err := w.coll.BulkWrite(ctx, models, mongooptions.BulkWrite().SetOrdered(false))
	if err == nil && res.MatchedCount != int64(len(models)) {
		err = fmt.Errorf("%w: of %d versions %d changed", stabilize.ErrInternal, len(models), res.MatchedCount)
	}
	return err
}

// close has nothing to do: the client is the site's.
func (*mongoLimit) close() error { return nil }

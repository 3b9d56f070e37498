package model

// The structs of this file are stock's, with stock's names, keys and types
// (contract ingest 1.2 and query 1.2).

// MetricValue is one pushed item: agent to transfer and gateway, /v1/push,
// /api/push, the output of plugins.
type MetricValue struct {
	Endpoint  string `json:"endpoint"`
	Metric    string `json:"metric"`
	Value     any    `json:"value"` // a number or a numeric string; see ParseValue
	Step      int64  `json:"step"`  // seconds
	Type      string `json:"counterType"`
	Tags      string `json:"tags"`      // k=v,k=v
	Timestamp int64  `json:"timestamp"` // Unix seconds
}

// MetaData is a validated item inside transfer, as /trace and /filter print it.
type MetaData struct {
	Metric      string            `json:"metric"`
	Endpoint    string            `json:"endpoint"`
	Timestamp   int64             `json:"timestamp"`
	Step        int64             `json:"step"`
	Value       float64           `json:"value"`
	CounterType string            `json:"counterType"`
	Tags        map[string]string `json:"tags"`
}

// GraphItem is one point on its way from transfer to graph.
type GraphItem struct {
	Endpoint  string            `json:"endpoint"`
	Metric    string            `json:"metric"`
	Tags      map[string]string `json:"tags"`
	Value     float64           `json:"value"`
	Timestamp int64             `json:"timestamp"` // aligned to Step
	DsType    string            `json:"dstype"`    // GAUGE or DERIVE; COUNTER is taken as DERIVE
	Step      int               `json:"step"`
	Heartbeat int               `json:"heartbeat"` // seconds, 2 x Step
	Min       string            `json:"min"`       // a number, or U for none
	Max       string            `json:"max"`
}

// JudgeItem is one point on its way from transfer to judge.
type JudgeItem struct {
	Endpoint  string            `json:"endpoint"`
	Metric    string            `json:"metric"`
	Value     float64           `json:"value"`
	Timestamp int64             `json:"timestamp"`
	JudgeType string            `json:"judgeType"` // the type as pushed
	Tags      map[string]string `json:"tags"`
}

// StringItem is one point of a series whose values are texts, on its way from transfer
// to judge.
type StringItem struct {
	Endpoint  string            `json:"endpoint"`
	Metric    string            `json:"metric"`
	Value     string            `json:"value"` // 1 to 1024 bytes
	Timestamp int64             `json:"timestamp"`
	Tags      map[string]string `json:"tags"`
}

// TransferResponse answers Transfer.Update and is the data of /api/push.
type TransferResponse struct {
	Message string // "ok", even when every item was invalid
	Total   int    // items in the request, nulls and invalid ones included
	Invalid int    // items refused by validation
	Latency int64  // milliseconds spent
}

// SimpleRpcResponse answers calls that have nothing to say: 0 is success, 1 a
// bad request.
type SimpleRpcResponse struct {
	Code int `json:"code"`
}

// NullRpcRequest is the argument of calls that take none.
type NullRpcRequest struct{}

// GraphQueryParam asks for the points of one series.
type GraphQueryParam struct {
	Start     int64  `json:"start"`
	End       int64  `json:"end"`
	ConsolFun string `json:"consolFuc"` // sic; AVERAGE, MAX or MIN
	Endpoint  string `json:"endpoint"`
	Counter   string `json:"counter"`
	Step      int    `json:"step"`
}

// GraphQueryResponse holds the points of one series. A NaN value, null in JSON,
// says that nothing is known at that time. An unknown series has no Values.
type GraphQueryResponse struct {
	Endpoint string     `json:"endpoint"`
	Counter  string     `json:"counter"`
	DsType   string     `json:"dstype"`
	Step     int        `json:"step"` // the base step, also when Values are coarser
	Values   []*RRDData `json:"Values"`
}

// RRDData is one point of an answer.
type RRDData struct {
	Timestamp int64     `json:"timestamp"`
	Value     JSONFloat `json:"value"`
}

// GraphInfoParam names a series.
type GraphInfoParam struct {
	Endpoint string `json:"endpoint"`
	Counter  string `json:"counter"`
}

// GraphInfoResp tells the type and step of a series; empty when it is unknown.
type GraphInfoResp struct {
	ConsolFun string `json:"consolFun"` // carries the stored type
	Step      int    `json:"step"`
	Filename  string `json:"filename"`
}

// GraphLastParam names a series whose newest point is wanted.
type GraphLastParam struct {
	Endpoint string `json:"endpoint"`
	Counter  string `json:"counter"`
}

// GraphLastResp holds the newest point; timestamp 0 says there is none.
type GraphLastResp struct {
	Endpoint string   `json:"endpoint"`
	Counter  string   `json:"counter"`
	Value    *RRDData `json:"value"`
}

// GraphDeleteParam names one incarnation of a series to delete.
type GraphDeleteParam struct {
	Endpoint string `json:"endpoint"`
	Metric   string `json:"metric"`
	Step     int    `json:"step"`
	DsType   string `json:"dstype"`
	Tags     string `json:"tags"`
}

// GraphDeleteResp is empty: Graph.Delete reports no errors.
type GraphDeleteResp struct{}

// File is an archive file as stock graphs hand it to each other.
type File struct {
	Filename string
	Body     []byte
}
